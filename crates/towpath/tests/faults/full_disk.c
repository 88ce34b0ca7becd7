/* Preloaded into a process, it makes every write below FULL_DISK_ROOT fail for lack of space while
   the file FULL_DISK_FLAG exists, after FULL_DISK_ROOM bytes (none unless set). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long written;

static int is_full(int fd, size_t size) {
    const char *flag = getenv("FULL_DISK_FLAG"), *root = getenv("FULL_DISK_ROOT");
    if (!flag || !root || access(flag, F_OK) != 0) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, root, strlen(root)) != 0) return 0;
    const char *room = getenv("FULL_DISK_ROOM");
    return atomic_fetch_add(&written, (long)size) + (long)size > (room ? atol(room) : 0);
}

#define INTERPOSE(type, name, parameters, arguments, amount) \
    type name parameters { \
        static type(*original) parameters; \
        if (!original) original = (type(*) parameters)dlsym(RTLD_NEXT, #name); \
        if (is_full(fd, amount)) { errno = ENOSPC; return -1; } \
        return original arguments; \
    }

INTERPOSE(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), size)
INTERPOSE(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), size)
INTERPOSE(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), size)
INTERPOSE(int, ftruncate, (int fd, off_t size), (fd, size), 1)
INTERPOSE(int, ftruncate64, (int fd, off64_t size), (fd, size), 1)
