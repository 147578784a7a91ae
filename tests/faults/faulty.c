/* Loaded before libc: lets the k-th write, sync or rename in one folder fail, and keeps what a power cut would leave.

   A write that fails has written half of its bytes. A sync that fails has synced nothing, and one
   that succeeds does not touch the disk either: the power is not cut in earnest. What a power cut leaves, at
   worst, is every file as it was when it was last synced, under the names that its folder had when that was last
   synced: `faulty_shadow` names a folder where that is kept, as files named by their inode and birth, and `names`. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NONE, WRITE, SYNC, RENAME };
static char watched[4096], shadow[4096];
static int kind, at, for_good, counted[4], retried, folders;
static char failed[256][64];
static int failures;

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

void faulty_arm(const char *folder, int what, int number, int lasting) {
    snprintf(watched, sizeof watched, "%s", folder);
    kind = what; at = number; for_good = lasting; retried = failures = folders = 0;
    memset(counted, 0, sizeof counted);
}
void faulty_shadow(const char *folder) { snprintf(shadow, sizeof shadow, "%s", folder); }
int faulty_count(int what) { return counted[what]; }
int faulty_retried(void) { return retried; }
int faulty_folders(void) { return folders; }

static int inside(const char *path) {
    size_t n = strlen(watched);
    return n && !strncmp(path, watched, n) && (path[n] == '/' || !path[n]);
}
static int path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, size - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return inside(path);
}
static int fails(int what) {
    int n = ++counted[what];
    return kind == what && (for_good ? n >= at : n == at);
}
static int key_of(int fd, const char *name, char *key, size_t size, int *regular) {
    struct statx s;
    if (statx(fd, name, name[0] ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &s)) return 0;
    *regular = S_ISREG(s.stx_mode);
    snprintf(key, size, "%llu-%lld.%u", (unsigned long long)s.stx_ino, (long long)s.stx_btime.tv_sec, s.stx_btime.tv_nsec);
    return 1;
}
static void keep(int fd) {
    char key[64], path[4400], block[1 << 16];
    int regular;
    if (!shadow[0] || !key_of(fd, "", key, sizeof key, &regular)) return;
    if (regular) {
        snprintf(path, sizeof path, "%s/%s", shadow, key);
        FILE *out = fopen(path, "w");
        off_t place = 0;
        ssize_t n;
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        int in = open(link, O_RDONLY);
        while ((n = pread(in, block, sizeof block, place)) > 0) { fwrite(block, 1, n, out); place += n; }
        close(in);
        fclose(out);
        return;
    }
    if (!path_of(fd, path, sizeof path) || strcmp(path, watched)) return;
    char names[4400];
    snprintf(names, sizeof names, "%s/names", shadow);
    FILE *out = fopen(names, "w");
    DIR *folder = opendir(watched);
    struct dirent *entry;
    while ((entry = readdir(folder)))
        if (key_of(dirfd(folder), entry->d_name, key, sizeof key, &regular) && regular)
            fprintf(out, "%s %s\n", key, entry->d_name);
    closedir(folder);
    fclose(out);
}

ssize_t write(int fd, const void *bytes, size_t size) {
    REAL(write);
    char path[4096];
    if (path_of(fd, path, sizeof path) && fails(WRITE)) { real(fd, bytes, size / 2); errno = ENOSPC; return -1; }
    return real(fd, bytes, size);
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t place) {
    REAL(pwrite);
    char path[4096];
    if (path_of(fd, path, sizeof path) && fails(WRITE)) { real(fd, bytes, size / 2, place); errno = ENOSPC; return -1; }
    return real(fd, bytes, size, place);
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t place) { return pwrite(fd, bytes, size, place); }

static int synced(int fd) {
    char path[4096], key[64];
    int regular;
    if (!path_of(fd, path, sizeof path)) return 0;
    key_of(fd, "", key, sizeof key, &regular);
    /* SQLite writes the pages anew when it rolls back */
    int ours = regular && !strstr(path, "log.sqlite");
    for (int i = 0; ours && i < failures; i++) retried += !strcmp(failed[i], key);
    if (fails(SYNC)) {
        folders += !regular;
        if (ours && failures < 256) snprintf(failed[failures++], 64, "%s", key);
        errno = EIO;
        return -1;
    }
    keep(fd);
    return 0;
}
int fsync(int fd) { return synced(fd); }
int fdatasync(int fd) { return synced(fd); }

int rename(const char *from, const char *to) {
    REAL(rename);
    if (inside(from) && fails(RENAME)) { errno = EIO; return -1; }
    return real(from, to);
}
int renameat(int d, const char *from, int e, const char *to) {
    REAL(renameat);
    if (inside(from) && fails(RENAME)) { errno = EIO; return -1; }
    return real(d, from, e, to);
}
