/* What the page "In Python, JavaScript, Go and C" says of C, seen in a run. Ends with an error if one isn't so. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void seen(const char *trap, int is_so) {
    if (!is_so) {
        fprintf(stderr, "%s: this is not so in C\n", trap);
        exit(1);
    }
    puts(trap);
}

static int listening(struct sockaddr_in *at, int reuse) {
    socklen_t size = sizeof *at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    memset(at, 0, size);
    at->sin_family = AF_INET;
    at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
    if (bind(listener, (struct sockaddr *)at, size) || listen(listener, 8)) exit(2);
    getsockname(listener, (struct sockaddr *)at, &size);
    return listener;
}

static int connected(const struct sockaddr_in *to) {
    int client = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(client, (const struct sockaddr *)to, sizeof *to)) exit(2);
    return client;
}

/* A client, and the server's side of its connection. */
static void pair(int ends[2]) {
    struct sockaddr_in at;
    int listener = listening(&at, 0);
    ends[0] = connected(&at);
    ends[1] = accept(listener, NULL, NULL);
    close(listener);
}

/* Writing to a client that has gone ends the process, unless it asked otherwise. */
static int ended_by_sigpipe(int flags, int ignored) {
    pid_t child = fork();
    int status;
    if (child == 0) {
        int ends[2];
        struct linger reset = {1, 0};
        char byte;
        signal(SIGPIPE, ignored ? SIG_IGN : SIG_DFL);
        pair(ends);
        setsockopt(ends[0], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(ends[0]);
        read(ends[1], &byte, 1); /* says that it was reset: the next write finds the connection gone */
        _exit(send(ends[1], "x", 1, flags) == -1 && errno == EPIPE ? 0 : 1);
    }
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0) exit(2);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE;
}

static int told[2];

static void handler(int number) {
    (void)number;
    write(told[1], "", 1);
}

/* A child that waits in accept handles a signal every 20 ms. */
static int accept_ends_after_handler(int flags) {
    struct sockaddr_in at;
    int listener = listening(&at, 0), status;
    char byte;
    pipe(told);
    pid_t child = fork();
    if (child == 0) {
        struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
        sigaction(SIGALRM, &action, NULL);
        ualarm(20000, 20000);
        _exit(accept(listener, NULL, NULL) == -1 && errno == EINTR ? 0 : 1);
    }
    if (flags & SA_RESTART) { /* it would go on for ever: after five signals comes a client */
        for (int times = 0; times < 5; times++) read(told[0], &byte, 1);
        close(connected(&at));
    }
    waitpid(child, &status, 0);
    return WEXITSTATUS(status) == 0;
}

/* Ends a server whose side of a connection ended first, so that its kernel remembers it for a minute, and starts it anew. */
static int starts_again(int reuse) {
    struct sockaddr_in at;
    char byte;
    int first = listening(&at, reuse), client = connected(&at), again = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(again, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
    close(accept(first, NULL, NULL));
    recv(client, &byte, 1, 0);
    close(client);
    close(first);
    return bind(again, (struct sockaddr *)&at, sizeof at) == 0;
}

int main(void) {
    int ends[2];
    char buffer[16] = "????????????";
    FILE *stream;

    seen("a-write-to-a-gone-client-ends-the-process", ended_by_sigpipe(0, 0));
    seen("not-with-msg-nosignal", !ended_by_sigpipe(MSG_NOSIGNAL, 0));
    seen("not-with-sigpipe-ignored", !ended_by_sigpipe(0, 1));
    seen("accept-ends-with-eintr-after-a-handler", accept_ends_after_handler(0));
    seen("accept-is-restarted-with-sa-restart", !accept_ends_after_handler(SA_RESTART));
    seen("signal-means-sa-restart", signal(SIGTERM, handler) == SIG_DFL && ({
        struct sigaction now;
        sigaction(SIGTERM, NULL, &now);
        now.sa_flags & SA_RESTART;
    }));

    pair(ends);
    send(ends[0], "ab", 2, 0);
    recv(ends[1], buffer, 2, MSG_WAITALL);
    seen("recv-adds-no-zero", buffer[2] == '?');

    send(ends[0], "a\0b\n", 4, 0);
    stream = fdopen(dup(ends[1]), "r");
    seen("strlen-ends-at-a-zero-byte", fgets(buffer, sizeof buffer, stream) && strlen(buffer) == 1);

    send(ends[0], "one\ntwo\n", 8, 0);
    shutdown(ends[0], SHUT_WR);
    seen("stdio-reads-ahead", fgets(buffer, sizeof buffer, stream) && !strcmp(buffer, "one\n")
                                  && recv(ends[1], buffer, sizeof buffer, 0) == 0);
    fprintf(fdopen(dup(ends[1]), "w"), "kept back\n");
    seen("stdio-keeps-answers-back", recv(ends[0], buffer, sizeof buffer, MSG_DONTWAIT) == -1 && errno == EAGAIN);

    seen("without-so-reuseaddr-no-restart", !starts_again(0));
    seen("with-so-reuseaddr-a-restart", starts_again(1));
    return 0;
}
