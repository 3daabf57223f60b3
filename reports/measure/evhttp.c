/* A push server on libevent's evhttp, in the way of part 3 of "A Million-user Comet Application
 * with Mochiweb": GET /test/ID gets an endless chunked response, and the body of POST /pub/ID is
 * sent as a chunk to each connection of the id. */
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/listener.h>

static const char USAGE[] = "evhttp [PORT]   on 127.0.0.1 (7003; 0: any port)\n";

#define N_IDS 1048576
#define MESSAGE_BYTES 65536
#define LISTEN_BACKLOG 4096

/* Long enough never to pass: by default evhttp closes a connection that is silent for 50 s. */
#define TIMEOUT_SECONDS 0x7fffff

/* A client of an id, in the list of all of them. */
struct client {
    struct evhttp_request *request;
    uint32_t id;
    struct client *previous, *next;
};

static struct client *clients[N_IDS];
static struct evbuffer *chunk;

static void on_close(struct evhttp_connection *connection, void *argument) {
    (void)connection;
    struct client *client = argument;
    if (client->previous != NULL)
        client->previous->next = client->next;
    else
        clients[client->id] = client->next;
    if (client->next != NULL)
        client->next->previous = client->previous;
    free(client);
}

/* Adds a client to its id; NULL without memory. */
static struct client *add_client(struct evhttp_request *request, uint32_t id) {
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return NULL;
    *client = (struct client){.request = request, .id = id, .next = clients[id]};
    if (client->next != NULL)
        client->next->previous = client;
    clients[id] = client;
    return client;
}

static void subscribe(struct evhttp_request *request, uint32_t id) {
    struct client *client = add_client(request, id);
    if (client == NULL) {
        evhttp_send_error(request, 503, "no memory");
        return;
    }
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    evhttp_connection_set_timeout(connection, TIMEOUT_SECONDS);
    /* While evhttp answers it does not read, and would not see that the client has left. */
    bufferevent_enable(evhttp_connection_get_bufferevent(connection), EV_READ);
    evhttp_connection_set_closecb(connection, on_close, client);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
                      "text/html; charset=utf-8");
    evhttp_send_reply_start(request, 200, "OK");
}

static void publish(struct evhttp_request *request, uint32_t id) {
    static char message[MESSAGE_BYTES];
    struct evbuffer *body = evhttp_request_get_input_buffer(request);
    ev_ssize_t n = evbuffer_copyout(body, message, sizeof message);
    struct client *next;
    for (struct client *client = clients[id]; n > 0 && client != NULL; client = next) {
        /* Sending may close the connection, and so free the client. */
        next = client->next;
        evbuffer_add(chunk, message, (size_t)n);
        evhttp_send_reply_chunk(client->request, chunk);
        evbuffer_drain(chunk, evbuffer_get_length(chunk));
    }
    evhttp_send_reply(request, 200, "OK", NULL);
}

/* Reads the id behind a path's beginning; false if the path has another one. */
static bool has_id(const char *path, const char *beginning, uint32_t *id) {
    size_t n = strlen(beginning);
    if (strncmp(path, beginning, n) != 0)
        return false;
    char *end;
    unsigned long number = strtoul(path + n, &end, 10);
    if (end == path + n || number >= N_IDS)
        return false;
    *id = (uint32_t)number;
    return true;
}

static void on_request(struct evhttp_request *request, void *argument) {
    (void)argument;
    const char *path = evhttp_request_get_uri(request);
    uint32_t id;
    if (has_id(path, "/test/", &id))
        subscribe(request, id);
    else if (has_id(path, "/pub/", &id))
        publish(request, id);
    else
        evhttp_send_error(request, 404, "no such path or id");
}

static struct evconnlistener *bind_server(struct event_base *base, struct evhttp *server,
                                          int port) {
    struct sockaddr_in address = address_of("127.0.0.1", "127.0.0.1", port);
    struct evconnlistener *listener = evconnlistener_new_bind(
        base, NULL, NULL, LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_FREE, LISTEN_BACKLOG,
        (struct sockaddr *)&address, sizeof address);
    if (listener == NULL)
        fail("listening on 127.0.0.1");
    if (evhttp_bind_listener(server, listener) == NULL)
        fail("evhttp_bind_listener");
    return listener;
}

int main(int n_arguments, char **arguments) {
    if (n_arguments > 2) {
        fputs(USAGE, stderr);
        return 2;
    }
    int port = 7003;
    if (n_arguments == 2)
        port = (int)whole_number("PORT", arguments[1], 0, 65535);
    prepare_process();
    struct event_base *base = event_base_new();
    struct evhttp *server = base != NULL ? evhttp_new(base) : NULL;
    chunk = evbuffer_new();
    if (server == NULL || chunk == NULL)
        fail("libevent");
    struct evconnlistener *listener = bind_server(base, server, port);
    evhttp_set_gencb(server, on_request, NULL);
    printf("READY port=%d\n", port_of(evconnlistener_get_fd(listener)));
    if (event_base_dispatch(base) < 0)
        fail("event_base_dispatch");
    return 0;
}
