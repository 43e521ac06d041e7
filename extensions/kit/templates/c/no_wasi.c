/* Stands in for what the C library would ask of an operating system in `printf` and its like. There is none:
 * nothing is printed. What would read a clock, draw random numbers or open files is not here, so that an
 * extension which needs it is refused when it is built and not when it runs. */
#include <stdint.h>

#pragma clang diagnostic ignored "-Wmissing-prototypes"

/* WASI's number for a file that is not open. */
enum { BAD_FILE = 8 };

int32_t __imported_wasi_snapshot_preview1_fd_close(int32_t file) {
  (void)file;
  return BAD_FILE;
}

int32_t __imported_wasi_snapshot_preview1_fd_fdstat_get(int32_t file, int32_t into) {
  (void)file, (void)into;
  return BAD_FILE;
}

int32_t __imported_wasi_snapshot_preview1_fd_seek(int32_t file, int64_t by, int32_t from, int32_t into) {
  (void)file, (void)by, (void)from, (void)into;
  return BAD_FILE;
}

int32_t __imported_wasi_snapshot_preview1_fd_write(int32_t file, int32_t what, int32_t parts, int32_t into) {
  (void)file, (void)what, (void)parts, (void)into;
  return BAD_FILE;
}

_Noreturn void __imported_wasi_snapshot_preview1_proc_exit(int32_t code) {
  (void)code;
  __builtin_trap();
}
