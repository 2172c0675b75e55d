"""Foreign worlds as services of a tree: ASGI and WSGI applications, Twisted's services, asyncio's programs.

Each file knows one of them, is imported when it is used, and says which extra it needs.
"""
