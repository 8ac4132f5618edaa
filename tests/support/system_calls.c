/* Loaded into a program before libc (LD_PRELOAD): the calls that change what lies below a folder are
 * counted, fail or kill by order, and are recorded with what they wrote.
 *
 *   FAULT_UNDER  the folder, an absolute path without links
 *   FAULT_ALSO   a file outside of it whose writes are recorded too, and never fail
 *   FAULT_LOG    a file for the record: see system_calls.py
 *   FAULT_DATA   anything, to record also the bytes that are written
 *   FAULT_CALL   the kind of call that is counted, a number of the list below
 *   FAULT_AT     the number of the call, from 1, that meets a fault
 *   FAULT_DO     "kill" (before the call), "torn" (after half of a write, or after another call),
 *                "cut" (ext4 gives up at once, with all that is not on the disk, and the process dies)
 *                or the number of an error with which the call fails
 *   FAULT_LASTS  anything, so that later calls that need the disk fail as well
 *
 * The program's own children are left alone: they get neither this library nor its orders.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define ROOM 4096
#define EXT4_SHUTDOWN _IOR('X', 125, uint32_t)

enum { WRITE, PWRITE, FSYNC, FDATASYNC, FTRUNCATE, CREATE, EMPTY, RENAME, LINK, UNLINK, MKDIR, RMDIR };

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static char under[ROOM], also[ROOM], order[32];
static long at = -1, calls;
static int out = -1, owner, kind = -1, with_data, lasts, striking;

__attribute__((constructor)) static void begin(void) {
    const char *given = getenv("FAULT_UNDER"), *log = getenv("FAULT_LOG");
    unsetenv("LD_PRELOAD");
    if (!given || !log) return;
    snprintf(under, ROOM, "%s", given);
    if ((given = getenv("FAULT_ALSO"))) snprintf(also, ROOM, "%s", given);
    if ((given = getenv("FAULT_DO"))) snprintf(order, sizeof order, "%s", given);
    if ((given = getenv("FAULT_CALL"))) kind = atoi(given);
    if ((given = getenv("FAULT_AT"))) at = atol(given);
    with_data = getenv("FAULT_DATA") != NULL;
    lasts = getenv("FAULT_LASTS") != NULL;
    owner = getpid();
    int made = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    out = fcntl(made, F_DUPFD_CLOEXEC, 500);  /* out of the program's way */
    close(made);
}

static int is_under(const char *path) {
    size_t n = strlen(under);
    return !strncmp(path, under, n) && (path[n] == '/' || !path[n]);
}

/* Whether a call on a path is to be met; never in a child between its fork and its exec. */
static int is_ours(const char *path) {
    return out >= 0 && getpid() == owner && (is_under(path) || (*also && !strcmp(path, also)));
}

static int find(int fd, char *path) {
    char name[64];
    if (out < 0) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, path, ROOM - 1);
    path[n < 0 ? 0 : n] = 0;
    return n > 0 && is_ours(path);
}

static int resolve(int folder, const char *name, char *path) {
    char base[ROOM];
    if (out < 0) return 0;
    if (*name == '/') {
        snprintf(path, ROOM, "%s", name);
    } else {
        if (folder == AT_FDCWD) {
            if (!getcwd(base, ROOM)) return 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t n = readlink(link, base, ROOM - 1);
            if (n < 0) return 0;
            base[n] = 0;
        }
        if (strlen(base) + strlen(name) + 2 > ROOM) return 0;
        strcpy(path, base);
        strcat(path, "/");
        strcat(path, name);
    }
    return is_ours(path);
}

static void record(int call, int failed, const char *path, const char *other, int64_t where,
                   const void *data, uint64_t length) {
    struct { uint32_t call, failed, path, other; int64_t where; uint64_t length, kept; } head = {
        call, failed, strlen(path), other ? strlen(other) : 0, where, length,
        (with_data || !is_under(path)) && data && !failed ? length : 0};
    struct iovec parts[4] = {{&head, sizeof head}, {(void *)path, head.path},
                             {(void *)other, head.other}, {(void *)data, head.kept}};
    if (REAL(writev)(out, parts, 4) < 0) abort();
}

/* What a power cut leaves: nothing more comes to the disk, neither data nor the journal's end. */
static void cut_power(void) {
    uint32_t no_flush = 2;
    char folder[ROOM];
    snprintf(folder, ROOM, "%s", under);
    *strrchr(folder, '/') = 0;
    int fd = REAL(open)(folder, O_RDONLY);
    if (fd < 0 || ioctl(fd, EXT4_SHUTDOWN, &no_flush)) abort();
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int takes_space(int call) {
    return call != UNLINK && call != RMDIR && call != EMPTY;
}

/* Before a call, with the turn taken: 0 to go on, an error, or -1 to die after half of it. */
static int meet(int call, const char *path, const char *other) {
    if (!is_under(path)) return 0;
    int is_now = call == kind && ++calls == at, error = atoi(order);
    if (is_now) striking = 1;
    if (!is_now && !(striking && lasts && takes_space(call))) return 0;
    if (!strcmp(order, "kill")) {
        record(call, 1000, path, other, 0, NULL, 0);
        die();
    }
    if (!strcmp(order, "cut")) {
        record(call, 1002, path, other, 0, NULL, 0);
        cut_power();
        die();
    }
    if (!error) return -1;
    if ((error == ENOSPC || error == EDQUOT) && !takes_space(call)) return 0;
    record(call, error, path, other, 0, NULL, 0);
    return error;
}

#define TURN(type, call, path, other, plain, torn, where, data, length)                      \
    type done;                                                                               \
    pthread_mutex_lock(&turn);                                                               \
    int error = meet(call, path, other);                                                     \
    if (error < 0) {                                                                         \
        torn;                                                                                \
        record(call, 1001, path, other, 0, NULL, 0);                                         \
        die();                                                                               \
    }                                                                                        \
    if (error) {                                                                             \
        pthread_mutex_unlock(&turn);                                                         \
        errno = error;                                                                       \
        return -1;                                                                           \
    }                                                                                        \
    done = plain;                                                                            \
    int was = errno;                                                                         \
    if (done >= 0) record(call, 0, path, other, where, data, length);                        \
    pthread_mutex_unlock(&turn);                                                             \
    errno = was;                                                                             \
    return done

ssize_t write(int fd, const void *data, size_t length) {
    char path[ROOM];
    ssize_t (*real)(int, const void *, size_t) = REAL(write);
    if (!find(fd, path)) return real(fd, data, length);
    TURN(ssize_t, WRITE, path, NULL, real(fd, data, length), real(fd, data, length / 2),
         lseek(fd, 0, SEEK_CUR) - done, data, done);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t where) {
    char path[ROOM];
    ssize_t (*real)(int, const void *, size_t, off64_t) = REAL(pwrite64);
    if (!find(fd, path)) return real(fd, data, length, where);
    TURN(ssize_t, PWRITE, path, NULL, real(fd, data, length, where),
         real(fd, data, length / 2, where), where, data, done);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t where) {
    return pwrite64(fd, data, length, where);
}

int fsync(int fd) {
    char path[ROOM];
    int (*real)(int) = REAL(fsync);
    if (!find(fd, path)) return real(fd);
    TURN(int, FSYNC, path, NULL, real(fd), real(fd), 0, NULL, 0);
}

int fdatasync(int fd) {
    char path[ROOM];
    int (*real)(int) = REAL(fdatasync);
    if (!find(fd, path)) return real(fd);
    TURN(int, FDATASYNC, path, NULL, real(fd), real(fd), 0, NULL, 0);
}

int ftruncate64(int fd, off64_t length) {
    char path[ROOM];
    int (*real)(int, off64_t) = REAL(ftruncate64);
    if (!find(fd, path)) return real(fd, length);
    TURN(int, FTRUNCATE, path, NULL, real(fd, length), real(fd, length), length, NULL, 0);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

/* Only what makes a file, or empties one, is a call that counts. */
int openat64(int folder, const char *name, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    char path[ROOM];
    struct stat known;
    int (*real)(int, const char *, int, ...) = REAL(openat64);
    if (!(flags & (O_CREAT | O_TRUNC)) || !resolve(folder, name, path))
        return real(folder, name, flags, mode);
    int call = lstat(path, &known) ? CREATE : EMPTY;
    if (call == CREATE ? !(flags & O_CREAT) : !(flags & O_TRUNC))
        return real(folder, name, flags, mode);
    TURN(int, call, path, NULL, real(folder, name, flags, mode), real(folder, name, flags, mode), 0,
         NULL, 0);
}

#define OPEN(name, folder)                                                                   \
    va_list more;                                                                            \
    va_start(more, flags);                                                                   \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                  \
    va_end(more);                                                                            \
    return openat64(folder, name, flags, mode)

int openat(int folder, const char *name, int flags, ...) { OPEN(name, folder); }
int open64(const char *name, int flags, ...) { OPEN(name, AT_FDCWD); }
int open(const char *name, int flags, ...) { OPEN(name, AT_FDCWD); }

#define PAIR(call, real)                                                                     \
    char path[ROOM], target[ROOM];                                                           \
    if (!resolve(from, name, path) || !resolve(to, other, target)) return real;              \
    TURN(int, call, path, target, real, real, 0, NULL, 0)

int renameat(int from, const char *name, int to, const char *other) {
    PAIR(RENAME, REAL(renameat)(from, name, to, other));
}

int rename(const char *name, const char *other) {
    return renameat(AT_FDCWD, name, AT_FDCWD, other);
}

int linkat(int from, const char *name, int to, const char *other, int flags) {
    PAIR(LINK, REAL(linkat)(from, name, to, other, flags));
}

int link(const char *name, const char *other) {
    return linkat(AT_FDCWD, name, AT_FDCWD, other, 0);
}

int unlinkat(int folder, const char *name, int flags) {
    char path[ROOM];
    int (*real)(int, const char *, int) = REAL(unlinkat);
    if (!resolve(folder, name, path)) return real(folder, name, flags);
    TURN(int, flags & AT_REMOVEDIR ? RMDIR : UNLINK, path, NULL, real(folder, name, flags),
         real(folder, name, flags), 0, NULL, 0);
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int folder, const char *name, mode_t mode) {
    char path[ROOM];
    int (*real)(int, const char *, mode_t) = REAL(mkdirat);
    if (!resolve(folder, name, path)) return real(folder, name, mode);
    TURN(int, MKDIR, path, NULL, real(folder, name, mode), real(folder, name, mode), 0, NULL, 0);
}

int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }
