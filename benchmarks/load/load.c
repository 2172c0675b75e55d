/* The load: it asks, checks every byte of the answers, and counts.
 *
 *   load exchange ADDRESS PID connections=50 request=64 response=64 depth=1
 *   load visit    ADDRESS PID connections=16 request=64
 *   load datagram ADDRESS PID depth=16 request=64
 *
 * ADDRESS is tcp:HOST:PORT, tls:HOST:PORT, udp:HOST:PORT or unix:PATH; PID is the server's process, whose
 * processor time is read at both ends of each slice, where it can be read at the right moment.
 *
 * exchange  keeps its connections, and on each of them `depth` requests are on their way.  What comes back is
 *           the echo, if request and response are as long as each other; otherwise it is dots.
 * visit     connects, is echoed once, says that it has nothing more to say, waits for the server's end, and
 *           begins again, with `connections` visits under way at a time.
 * datagram  keeps `depth` numbered datagrams in flight; one that stays away for LOST_AFTER is lost.
 *
 * It prints {"ready": true} when its connections stand.  Then each line "SECONDS" on its standard input is one
 * slice, which ends when every request has been answered, so that no work of the server is left out of the
 * account; SECONDS of 0 is one request on each connection.  It leaves when its input ends.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifdef WITH_TLS
#include <openssl/ssl.h>
#else
typedef void SSL;
#endif

#define PERIOD 251         /* the pattern of what is sent repeats itself after so many bytes: a prime */
#define ROOM (256 * 1024)  /* for what one receive brings */
#define EVENTS 256
#define OPENING 64         /* so many connections are being made at a time: fewer than any backlog */
#define PATIENCE 10.0      /* seconds for what ought to be a matter of milliseconds */
#define LOST_AFTER 0.2     /* seconds */
#define MOST_DATAGRAMS 64

struct connection {
    int fd;
    SSL *ssl;
    uint64_t sent, received, wanted; /* bytes; wanted is how far sending may go */
    bool blocked;                    /* waiting until it can send */
    enum { CONNECTING, TALKING, LEAVING, GONE } state;
};

struct outcome {
    uint64_t operations, errors, lost;
};

static struct {
    const char *mode;
    bool tls, local, echo;
    struct sockaddr_storage address;
    socklen_t address_size;
    pid_t server;
    int connections, depth;
    size_t request, response;
} options = {.connections = 1, .depth = 1, .request = 64, .response = 0};

static char *pattern, *dots, *inbox;
static struct connection *connections;
static int poller;
static struct outcome outcome;
static bool running; /* until the slice's time is up: no new requests after that */

static void fail(const char *what, ...) {
    va_list arguments;
    va_start(arguments, what);
    vfprintf(stderr, what, arguments);
    fputc('\n', stderr);
    exit(1);
}

static double seconds_of(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time))
        fail("clock_gettime: %s (has the server gone?)", strerror(errno));
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static double now(void) { return seconds_of(CLOCK_MONOTONIC); }

static double processor_time_of_server(void) {
    clockid_t clock;
    if (clock_getcpuclockid(options.server, &clock))
        fail("the server, process %d, has gone", options.server);
    return seconds_of(clock);
}

/* ---- connections: plain and TLS behave alike, as recv and send do */

#ifdef WITH_TLS
static SSL_CTX *context;

static ssize_t tls_result(SSL *ssl, int result) {
    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_NONE:
        return result;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        errno = EPROTO;
        return -1;
    }
}
#endif

static ssize_t put(struct connection *c, const char *bytes, size_t count) {
#ifdef WITH_TLS
    if (c->ssl)
        return tls_result(c->ssl, SSL_write(c->ssl, bytes, count));
#endif
    return send(c->fd, bytes, count, MSG_NOSIGNAL);
}

static ssize_t get(struct connection *c) {
#ifdef WITH_TLS
    if (c->ssl)
        return tls_result(c->ssl, SSL_read(c->ssl, inbox, ROOM));
#endif
    return recv(c->fd, inbox, ROOM, 0);
}

static void say_end(struct connection *c) {
#ifdef WITH_TLS
    if (c->ssl)
        SSL_shutdown(c->ssl);
#endif
    shutdown(c->fd, SHUT_WR);
}

static void drop(struct connection *c) {
#ifdef WITH_TLS
    if (c->ssl)
        SSL_free(c->ssl);
    c->ssl = NULL;
#endif
    close(c->fd);
    c->state = GONE;
}

/* Visits leave ports in TIME_WAIT behind, so they come from many of the addresses that loopback has. */
static void come_from_elsewhere(int fd) {
    static unsigned visit;
    int yes = 1;
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(0x7f000101 + visit++ % 250);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&source, sizeof source))
        fail("bind: %s", strerror(errno));
}

static void begin_connecting(struct connection *c, bool from_elsewhere) {
    int yes = 1;
    int fd = socket(options.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
        fail("socket: %s", strerror(errno));
    *c = (struct connection){.fd = fd, .state = CONNECTING};
    if (!options.local) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        if (from_elsewhere)
            come_from_elsewhere(fd);
    }
    /* A UNIX socket whose queue is full says EAGAIN at once, and no event tells when there is room. */
    while (connect(fd, (struct sockaddr *)&options.address, options.address_size)) {
        if (errno == EINPROGRESS)
            break;
        if (errno != EAGAIN || !options.local)
            fail("connect: %s", strerror(errno));
        usleep(1000);
    }
#ifdef WITH_TLS
    if (options.tls) {
        c->ssl = SSL_new(context);
        SSL_set_fd(c->ssl, fd);
        SSL_set_connect_state(c->ssl);
    }
#endif
}

static void watch(struct connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, operation, c->fd, &event))
        fail("epoll_ctl: %s", strerror(errno));
}

/* 0: not yet; 1: it stands; -1: it failed. */
static int finish_connecting(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error)
        return -1;
#ifdef WITH_TLS
    if (c->ssl) {
        int result = SSL_do_handshake(c->ssl);
        if (result == 1)
            return 1;
        return tls_result(c->ssl, result) < 0 && errno == EAGAIN ? 0 : -1;
    }
#endif
    return 1;
}

/* ---- exchange */

static bool is_right(const struct connection *c, size_t count) {
    const char *expected = options.echo ? pattern + c->received % PERIOD : dots;
    return !memcmp(inbox, expected, count);
}

static void lose(struct connection *c) {
    outcome.errors++;
    drop(c);
}

static void push(struct connection *c) {
    bool blocked = false;
    while (c->sent < c->wanted) {
        ssize_t count = put(c, pattern + c->sent % PERIOD, options.request - c->sent % options.request);
        if (count < 0 && errno == EAGAIN) {
            blocked = true;
            break;
        }
        if (count < 0) {
            lose(c);
            return;
        }
        c->sent += count;
    }
    if (blocked != c->blocked) {
        c->blocked = blocked;
        watch(c, EPOLL_CTL_MOD, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

static void pull(struct connection *c) {
    do {
        ssize_t count = get(c);
        if (count < 0 && errno == EAGAIN)
            return;
        if (count <= 0 || !is_right(c, count)) {
            lose(c);
            return;
        }
        uint64_t before = c->received / options.response;
        c->received += count;
        uint64_t answered = c->received / options.response;
        outcome.operations += answered - before;
        if (running)
            c->wanted = (answered + options.depth) * options.request;
        push(c);
    } while (c->ssl && c->state == TALKING); /* what TLS holds back, no poll announces */
}

static bool is_quiet(const struct connection *c) {
    return c->state == GONE ||
           (c->sent == c->wanted && c->received / options.response == c->wanted / options.request);
}

static bool all_quiet(void) {
    for (int i = 0; i < options.connections; i++)
        if (!is_quiet(&connections[i]))
            return false;
    return true;
}

static void exchange(double duration) {
    struct epoll_event events[EVENTS];
    double start = now();
    running = duration > 0;
    for (int i = 0; i < options.connections; i++) {
        struct connection *c = &connections[i];
        if (c->state != TALKING)
            continue;
        c->wanted = (c->received / options.response + options.depth) * options.request;
        push(c);
    }
    while (running || !all_quiet()) {
        double passed = now() - start;
        if (passed >= duration)
            running = false;
        if (passed >= duration + PATIENCE)
            fail("requests are unanswered after %g s", PATIENCE);
        int count = epoll_wait(poller, events, EVENTS, 10);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->state == TALKING && events[i].events & EPOLLOUT)
                push(c);
            if (c->state == TALKING && events[i].events & ~EPOLLOUT)
                pull(c);
        }
    }
}

static void open_connections(void) {
    struct epoll_event events[EVENTS];
    double deadline = now() + PATIENCE * 3;
    int begun = 0, standing = 0;
    while (standing < options.connections) {
        for (; begun < options.connections && begun - standing < OPENING; begun++) {
            begin_connecting(&connections[begun], false);
            watch(&connections[begun], EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT | EPOLLET);
        }
        if (now() > deadline)
            fail("only %d of %d connections could be made", standing, options.connections);
        int count = epoll_wait(poller, events, EVENTS, 100);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->state != CONNECTING)
                continue;
            int result = finish_connecting(c);
            if (result < 0)
                fail("a connection could not be made");
            if (result > 0) {
                c->state = TALKING;
                watch(c, EPOLL_CTL_MOD, EPOLLIN);
                standing++;
            }
        }
    }
}

/* ---- visits */

static void begin_visit(struct connection *c) {
    begin_connecting(c, true);
    watch(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT | EPOLLET);
}

static void end_visit(struct connection *c, bool well) {
    if (well)
        outcome.operations++;
    else
        outcome.errors++;
    drop(c);
    if (running)
        begin_visit(c);
}

/* As far as it goes without waiting: every event is an edge, and is told once. */
static void go_on_with_visit(struct connection *c) {
    if (c->state == CONNECTING) {
        int result = finish_connecting(c);
        if (result < 0)
            end_visit(c, false);
        if (result <= 0)
            return;
        c->state = TALKING;
    }
    while (c->sent < options.request) {
        ssize_t count = put(c, pattern + c->sent, options.request - c->sent);
        if (count < 0) {
            if (errno != EAGAIN)
                end_visit(c, false);
            return;
        }
        c->sent += count;
    }
    for (;;) {
        ssize_t count = get(c);
        if (count < 0 && errno == EAGAIN)
            return;
        if (count == 0 && c->state == LEAVING) {
            end_visit(c, true);
            return;
        }
        if (count <= 0 || c->state == LEAVING || !is_right(c, count)) {
            end_visit(c, false);
            return;
        }
        c->received += count;
        if (c->received == options.request) {
            say_end(c);
            c->state = LEAVING;
        }
    }
}

static bool all_gone(void) {
    for (int i = 0; i < options.connections; i++)
        if (connections[i].state != GONE)
            return false;
    return true;
}

static void visit(double duration) {
    struct epoll_event events[EVENTS];
    double start = now();
    running = true;
    for (int i = 0; i < options.connections; i++)
        begin_visit(&connections[i]);
    while (running || !all_gone()) {
        double passed = now() - start;
        if (passed >= duration)
            running = false;
        if (passed >= duration + PATIENCE)
            fail("visits have not ended after %g s", PATIENCE);
        int count = epoll_wait(poller, events, EVENTS, 10);
        for (int i = 0; i < count; i++)
            go_on_with_visit(events[i].data.ptr);
    }
}

/* ---- datagrams: place i of `depth` sends the numbers i, i + depth, i + 2 depth ... */

static struct place {
    uint64_t number;
    double sent_at;
    bool waiting;
} places[MOST_DATAGRAMS];

static void send_from(int fd, struct place *place) {
    char datagram[65536];
    place->number += options.depth;
    place->sent_at = now();
    place->waiting = true;
    memcpy(datagram, pattern, options.request);
    memcpy(datagram, &place->number, sizeof place->number);
    if (send(fd, datagram, options.request, 0) < 0)
        outcome.errors++;
}

static void take_datagram(int fd, const char *datagram, size_t size) {
    size_t head = sizeof(uint64_t);
    uint64_t number;
    memcpy(&number, datagram, head);
    struct place *place = &places[number % options.depth];
    if (size != options.request || memcmp(datagram + head, pattern + head, size - head)) {
        outcome.errors++;
        return;
    }
    if (!place->waiting || place->number != number)
        return; /* late: it has been counted as lost */
    outcome.operations++;
    place->waiting = false;
    if (running)
        send_from(fd, place);
}

static bool give_up_lost(int fd, double time) {
    bool waiting = false;
    for (int i = 0; i < options.depth; i++) {
        if (places[i].waiting && time - places[i].sent_at > LOST_AFTER) {
            outcome.lost++;
            places[i].waiting = false;
            if (running)
                send_from(fd, &places[i]);
        }
        waiting |= places[i].waiting;
    }
    return waiting;
}

static void datagram(double duration) {
    int fd = connections[0].fd;
    double start = now();
    running = duration > 0;
    for (int i = 0; i < options.depth; i++)
        send_from(fd, &places[i]);
    while (give_up_lost(fd, now())) {
        /* The first receive waits (for SO_RCVTIMEO at most), the others take what else has come. */
        ssize_t size = recv(fd, inbox, ROOM, 0);
        while (size >= 0) {
            take_datagram(fd, inbox, size);
            size = recv(fd, inbox, ROOM, MSG_DONTWAIT);
        }
        if (errno == ECONNREFUSED)
            fail("nobody hears the datagrams");
        if (now() - start >= duration)
            running = false;
    }
}

static void open_datagrams(void) {
    struct timeval wait = {.tv_usec = 20000};
    int fd = socket(options.address.ss_family, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (fd < 0 || connect(fd, (struct sockaddr *)&options.address, options.address_size))
        fail("connect: %s", strerror(errno));
    connections[0].fd = fd;
    for (int i = 0; i < options.depth; i++)
        places[i].number = i;
}

/* ---- what was asked for */

static void read_address(char *text) {
    char *scheme = strsep(&text, ":");
    if (!text)
        fail("an address is tcp:HOST:PORT or unix:PATH");
    options.tls = !strcmp(scheme, "tls");
    options.local = !strcmp(scheme, "unix");
    if (options.local) {
        struct sockaddr_un *name = (struct sockaddr_un *)&options.address;
        name->sun_family = AF_UNIX;
        strncpy(name->sun_path, text, sizeof name->sun_path - 1);
        options.address_size = sizeof *name;
        return;
    }
    struct sockaddr_in *name = (struct sockaddr_in *)&options.address;
    char *host = strsep(&text, ":");
    name->sin_family = AF_INET;
    name->sin_port = htons(text ? atoi(text) : 0);
    if (inet_pton(AF_INET, host, &name->sin_addr) != 1)
        fail("%s is no IPv4 address", host);
    options.address_size = sizeof *name;
}

static void read_option(char *text) {
    char *name = strsep(&text, "=");
    long value = text ? atol(text) : 0;
    if (value <= 0)
        fail("%s is a number above 0", name);
    if (!strcmp(name, "connections"))
        options.connections = value;
    else if (!strcmp(name, "request"))
        options.request = value;
    else if (!strcmp(name, "response"))
        options.response = value;
    else if (!strcmp(name, "depth"))
        options.depth = value;
    else
        fail("there is no option %s", name);
}

static void prepare(void) {
    size_t most = (options.request > ROOM ? options.request : ROOM) + PERIOD;
    if (!options.response)
        options.response = options.request;
    options.echo = options.response == options.request;
    pattern = malloc(most), dots = malloc(ROOM), inbox = malloc(ROOM);
    connections = calloc(options.connections, sizeof *connections);
    if (!pattern || !dots || !inbox || !connections)
        fail("no memory");
    for (size_t i = 0; i < most; i++)
        pattern[i] = i % PERIOD;
    memset(dots, '.', ROOM);
    poller = epoll_create1(0);
#ifdef WITH_TLS
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL); /* nothing here is about whom we talk to */
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);  /* ... nor about how they say goodbye */
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
#else
    if (options.tls)
        fail("it was built without OpenSSL");
#endif
}

int main(int count, char **arguments) {
    void (*slice)(double) = NULL;
    char line[64];
    if (count < 4)
        fail("usage: load exchange|visit|datagram ADDRESS PID [NAME=NUMBER ...]");
    options.mode = arguments[1];
    read_address(arguments[2]);
    options.server = atoi(arguments[3]);
    for (int i = 4; i < count; i++)
        read_option(arguments[i]);
    prepare();
    if (!strcmp(options.mode, "exchange"))
        slice = exchange, open_connections();
    else if (!strcmp(options.mode, "visit"))
        slice = visit;
    else if (!strcmp(options.mode, "datagram") && options.depth <= MOST_DATAGRAMS && options.request >= 8)
        slice = datagram, open_datagrams();
    else
        fail("there is no such load");
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("{\"ready\": true}");
    while (fgets(line, sizeof line, stdin)) {
        outcome = (struct outcome){0};
        double processor = processor_time_of_server(), own = seconds_of(CLOCK_PROCESS_CPUTIME_ID), start = now();
        slice(atof(line));
        double end = now();
        printf("{\"operations\": %lu, \"errors\": %lu, \"lost\": %lu, \"seconds\": %.9f, \"server\": %.9f, "
               "\"load\": %.9f}\n",
               outcome.operations, outcome.errors, outcome.lost, end - start,
               processor_time_of_server() - processor, seconds_of(CLOCK_PROCESS_CPUTIME_ID) - own);
    }
    return 0;
}
