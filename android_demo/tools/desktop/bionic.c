// What Android's C library has and the desktop's has not, or has otherwise. desktop.sh adds a
// forwarder for every other function that ExecuTorch's Android library asks for; together they
// stand in for libc.so, libm.so, libdl.so, liblog.so and libandroid.so.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <jni.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

// Forwarders: the table and the names come from desktop.sh.
#define HIDDEN __attribute__((visibility("hidden")))
extern HIDDEN const char *const forwarded_names[];
extern HIDDEN void *forwarded[];

static void missing(void) {
    fputs("bionic: a function that the desktop lacks was called\n", stderr);
    abort();
}

__attribute__((constructor)) static void find_forwarded(void) {
    void *library = dlopen("libm.so.6", RTLD_NOW); // its dependency libc.so.6 is searched too
    for (size_t i = 0; forwarded_names[i]; i++) {
        void *found = dlsym(library, forwarded_names[i]);
        forwarded[i] = found ? found : (void *)missing;
    }
}

// The virtual machine puts libstdc++ into the global scope; Android's libraries must find the C++
// runtime that they bring, all of them the same one. Whoever loads them again gets these.
JNIEXPORT jint JNI_OnLoad(JavaVM *machine, void *reserved) {
    if (dlopen("libexecutorch.so", RTLD_NOW | RTLD_DEEPBIND)) return JNI_VERSION_1_6;
    fprintf(stderr, "bionic: %s\n", dlerror());
    return JNI_ERR;
}

// Android's binaries ask for name@LIBC, this file's own calls for the desktop's name@GLIBC_...
#define EXPORT(name) __asm__(".symver bionic_" #name ", " #name "@LIBC");

// Standard streams: elements of an array in older code, pointers in newer.
enum { FILE_SIZE = 152 };
char bionic___sF[3 * FILE_SIZE];
FILE *bionic_stdout, *bionic_stderr;
EXPORT(__sF) EXPORT(stdout) EXPORT(stderr)

__attribute__((constructor)) static void set_streams(void) {
    bionic_stdout = stdout;
    bionic_stderr = stderr;
}

static FILE *stream(FILE *file) {
    char *place = (char *)file;
    if (place < bionic___sF || place >= bionic___sF + sizeof bionic___sF) return file;
    int number = (place - bionic___sF) / FILE_SIZE;
    return number == 0 ? stdin : number == 1 ? stdout : stderr;
}

int bionic_vfprintf(FILE *f, const char *format, va_list a) { return vfprintf(stream(f), format, a); }
int bionic_fprintf(FILE *f, const char *format, ...) {
    va_list a;
    va_start(a, format);
    int written = vfprintf(stream(f), format, a);
    va_end(a);
    return written;
}
size_t bionic_fwrite(const void *p, size_t size, size_t n, FILE *f) { return fwrite(p, size, n, stream(f)); }
int bionic_fputs(const char *text, FILE *f) { return fputs(text, stream(f)); }
int bionic_fputc(int c, FILE *f) { return fputc(c, stream(f)); }
wint_t bionic_fputwc(wchar_t c, FILE *f) { return fputwc(c, stream(f)); }
int bionic_fflush(FILE *f) { return fflush(stream(f)); }
int bionic_getc(FILE *f) { return getc(stream(f)); }
int bionic_ungetc(int c, FILE *f) { return ungetc(c, stream(f)); }
EXPORT(vfprintf) EXPORT(fprintf) EXPORT(fwrite) EXPORT(fputs) EXPORT(fputc) EXPORT(fputwc)
EXPORT(fflush) EXPORT(getc) EXPORT(ungetc)

// Where the numbers or the results differ.
long bionic_sysconf(int name) {
    switch (name) {
        case 39: case 40: return sysconf(_SC_PAGESIZE);
        case 96: return sysconf(_SC_NPROCESSORS_CONF);
        case 97: return sysconf(_SC_NPROCESSORS_ONLN);
        case 98: return sysconf(_SC_PHYS_PAGES);
        default: errno = EINVAL; return -1;
    }
}
int *bionic___errno(void) { return &errno; }
int __xpg_strerror_r(int error, char *text, size_t size); // the one that POSIX describes
int bionic_strerror_r(int error, char *text, size_t size) { return __xpg_strerror_r(error, text, size); }
char *bionic___gnu_strerror_r(int error, char *text, size_t size) { return strerror_r(error, text, size); }
size_t bionic___strlen_chk(const char *text, size_t size) { return strlen(text); }
char *bionic___strchr_chk(const char *text, int c, size_t size) { return strchr(text, c); }
char *bionic___strrchr_chk(const char *text, int c, size_t size) { return strrchr(text, c); }
ssize_t bionic___write_chk(int file, const void *p, size_t n, size_t size) { return write(file, p, n); }
void bionic___assert2(const char *file, int line, const char *function, const char *text) {
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, function, text);
    abort();
}
void bionic_android_set_abort_message(const char *text) { fprintf(stderr, "%s\n", text); }
int bionic___system_property_get(const char *name, char *value) { return *value = 0; }
EXPORT(sysconf) EXPORT(__errno) EXPORT(strerror_r) EXPORT(__gnu_strerror_r) EXPORT(__strlen_chk)
EXPORT(__strchr_chk) EXPORT(__strrchr_chk) EXPORT(__assert2)
EXPORT(android_set_abort_message) EXPORT(__system_property_get)
__asm__(".symver bionic___write_chk, __write_chk@LIBC_N");

// The log: warnings (5) and worse go to the error stream.
int __android_log_vprint(int priority, const char *tag, const char *format, va_list a) {
    if (priority < 5) return 0;
    fprintf(stderr, "%s: ", tag);
    vfprintf(stderr, format, a);
    return fputc('\n', stderr);
}
int __android_log_print(int priority, const char *tag, const char *format, ...) {
    va_list a;
    va_start(a, format);
    int result = __android_log_vprint(priority, tag, format, a);
    va_end(a);
    return result;
}
int __android_log_write(int priority, const char *tag, const char *text) {
    return __android_log_print(priority, tag, "%s", text);
}
void __android_log_assert(const char *condition, const char *tag, const char *format, ...) {
    va_list a;
    va_start(a, format);
    __android_log_vprint(7, tag, format ? format : condition, a);
    abort();
}
