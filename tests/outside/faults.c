/* A disk that fails on demand: preloaded into scanbell, acts on files whose name contains ".db".
 *
 * $SCANBELL_FAULTS names a file of two numbers (int32): the errno of every write, and the milliseconds of every
 * flush. It is read again at every call and during every wait, so that a test can break the disk and mend it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const volatile int32_t *control(void) {
    static const volatile int32_t *map;
    static const int32_t none[2];
    if (!map) {
        const char *path = getenv("SCANBELL_FAULTS");
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *got = fd < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
        if (fd >= 0) close(fd);
        map = got == MAP_FAILED ? none : (const volatile int32_t *)got;
    }
    return map;
}

static int of_the_store(int fd) {
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, ".db") != NULL;
}

static int broken(int fd) {
    int32_t error = control()[0];
    if (!error || !of_the_store(fd)) return 0;
    errno = error;
    return 1;
}

static void wait_for_the_disk(int fd) {
    int32_t waited = 0;
    if (!control()[1] || !of_the_store(fd)) return;
    while (waited < control()[1]) {
        struct timespec nap = {0, 10 * 1000 * 1000};
        nanosleep(&nap, NULL);
        waited += 10;
    }
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *from, size_t length) { return broken(fd) ? -1 : REAL(write)(fd, from, length); }
ssize_t pwrite(int fd, const void *from, size_t length, off_t at) {
    return broken(fd) ? -1 : REAL(pwrite)(fd, from, length, at);
}
ssize_t pwrite64(int fd, const void *from, size_t length, off64_t at) {
    return broken(fd) ? -1 : REAL(pwrite64)(fd, from, length, at);
}
int ftruncate(int fd, off_t length) { return broken(fd) ? -1 : REAL(ftruncate)(fd, length); }
int ftruncate64(int fd, off64_t length) { return broken(fd) ? -1 : REAL(ftruncate64)(fd, length); }
int fsync(int fd) {
    wait_for_the_disk(fd);
    return broken(fd) ? -1 : REAL(fsync)(fd);
}
int fdatasync(int fd) {
    wait_for_the_disk(fd);
    return broken(fd) ? -1 : REAL(fdatasync)(fd);
}
