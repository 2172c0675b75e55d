/* A server that does nothing but what the kernel demands: as far as a peer of ours could possibly go.
 *
 *   epoll TRANSPORT SERVICE ADDRESS
 *
 * TRANSPORT is tcp, unix or udp, SERVICE is echo, sink or source (see __main__.py beside this), ADDRESS a port
 * of 127.0.0.1 or a path.  One level-triggered epoll; a connection that cannot send is not read from.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MEBIBYTE (1 << 20)
#define ROOM (64 * 1024)
#define EVENTS 256

struct connection {
    int fd;
    bool blocked;
    size_t received;  /* sink: of the present MiB */
    size_t remaining; /* source: dots to send; echo: bytes of `held` */
    char *held;
    size_t held_from;
};

static char inbox[ROOM], dots[MEBIBYTE];
static int poller;

static void need(bool condition, const char *what) {
    if (!condition) {
        perror(what);
        exit(1);
    }
}

static void watch(struct connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    need(!epoll_ctl(poller, operation, c->fd, &event), "epoll_ctl");
}

static void drop(struct connection *c) {
    close(c->fd);
    free(c->held);
    free(c);
}

/* Send, as much as goes, of what is owed; false if the connection is dead. */
static bool pay(struct connection *c) {
    while (c->remaining) {
        const char *from = c->held ? c->held + c->held_from : dots;
        size_t most = c->held || c->remaining < MEBIBYTE ? c->remaining : MEBIBYTE;
        ssize_t count = send(c->fd, from, most, MSG_NOSIGNAL);
        if (count < 0 && errno != EAGAIN)
            return false;
        if (count < 0)
            break;
        c->remaining -= count;
        c->held_from += count;
    }
    if (!c->remaining) {
        free(c->held);
        c->held = NULL;
    }
    if (c->blocked != !!c->remaining) {
        c->blocked = !c->blocked;
        watch(c, EPOLL_CTL_MOD, c->blocked ? EPOLLOUT : EPOLLIN);
    }
    return true;
}

static bool echo(struct connection *c, size_t count) {
    ssize_t sent = send(c->fd, inbox, count, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return false;
    sent = sent < 0 ? 0 : sent;
    if ((size_t)sent == count)
        return true;
    c->remaining = count - sent;
    c->held_from = 0;
    c->held = malloc(c->remaining);
    need(c->held, "malloc");
    memcpy(c->held, inbox + sent, c->remaining);
    return pay(c);
}

static bool sink(struct connection *c, size_t count) {
    c->received += count;
    c->remaining += c->received / MEBIBYTE;
    c->received %= MEBIBYTE;
    return pay(c);
}

static bool source(struct connection *c, size_t count) {
    c->remaining += count * MEBIBYTE;
    return pay(c);
}

static bool (*service)(struct connection *, size_t);

static void accept_from(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        need(c, "calloc");
        c->fd = fd;
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void serve_streams(int listener) {
    struct epoll_event events[EVENTS];
    struct connection door = {.fd = listener};
    need(!listen(listener, 1024), "listen");
    watch(&door, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (c == &door) {
                accept_from(listener);
                continue;
            }
            if (c->blocked) {
                if (!pay(c))
                    drop(c);
                continue;
            }
            ssize_t size = recv(c->fd, inbox, ROOM, 0);
            if (size < 0 && errno == EAGAIN)
                continue;
            if (size <= 0 || !service(c, size))
                drop(c);
        }
    }
}

static void serve_datagrams(int fd) {
    struct epoll_event event;
    struct connection door = {.fd = fd};
    watch(&door, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        struct sockaddr_in peer;
        socklen_t size = sizeof peer;
        ssize_t count = recvfrom(fd, inbox, ROOM, MSG_DONTWAIT, (struct sockaddr *)&peer, &size);
        if (count >= 0)
            sendto(fd, inbox, count, 0, (struct sockaddr *)&peer, size);
        else
            epoll_wait(poller, &event, 1, -1);
    }
}

static int bound(const char *transport, const char *where) {
    int yes = 1, kind = (!strcmp(transport, "udp") ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK;
    if (!strcmp(transport, "unix")) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        strncpy(name.sun_path, where, sizeof name.sun_path - 1);
        int fd = socket(AF_UNIX, kind, 0);
        need(!bind(fd, (struct sockaddr *)&name, sizeof name), "bind");
        return fd;
    }
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(atoi(where))};
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, kind, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (!strcmp(transport, "tcp"))
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes); /* connections inherit it */
    need(!bind(fd, (struct sockaddr *)&name, sizeof name), "bind");
    return fd;
}

int main(int count, char **arguments) {
    if (count != 4)
        return 2;
    memset(dots, '.', sizeof dots);
    poller = epoll_create1(0);
    service = !strcmp(arguments[2], "echo") ? echo : !strcmp(arguments[2], "sink") ? sink : source;
    int fd = bound(arguments[1], arguments[3]);
    if (!strcmp(arguments[1], "udp"))
        serve_datagrams(fd);
    serve_streams(fd);
}
