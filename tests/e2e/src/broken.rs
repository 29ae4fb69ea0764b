//! A disk that breaks, and a cancel at the worst moment: a library that a server's processes load before libc lets reads,
//! writes or syncs of a file fail with EIO, or sends SIGINT to whom writes a line of the log, once or from then on. It is
//! compiled where it is needed.

use crate::Server;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What fails is told by the file `broken` in the directory that the server's named points use as well: an operation, how
/// often, and the end of a path, or a part of it that ends with a slash; for a cancel, a part of the line.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static char path[512], times[16], wanted[256];

/* Whether there is an order for this operation. */
static int ordered(const char *what) {
  char text[512], operation[16];
  const char *dir = getenv("QBO_RAW_POINTS");
  int length, order;
  if (!dir) return 0;
  snprintf(path, sizeof path, "%s/broken", dir);
  order = open(path, O_RDONLY);
  if (order < 0) return 0;
  length = read(order, text, sizeof text - 1);
  close(order);
  text[length < 0 ? 0 : length] = 0;
  return sscanf(text, "%15s %15s %255[^\n]", operation, times, wanted) == 3 && !strcmp(operation, what);
}

/* Whether it is for this time too: what is for once is for whom takes the order away. */
static int taken(void) { return strcmp(times, "once") || !unlink(path); }

static int of_file(int fd) {
  char link[64], file[512];
  int length;
  const char *found;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  length = readlink(link, file, sizeof file - 1);
  file[length < 0 ? 0 : length] = 0;
  found = strstr(file, wanted);
  return found && (!found[strlen(wanted)] || wanted[strlen(wanted) - 1] == '/');
}

static int broken(const char *what, int fd) {
  int before = errno, fails = ordered(what) && of_file(fd) && taken();
  errno = fails ? EIO : before;
  return fails;
}

/* PostgreSQL looks for a cancel after each line that it wrote to its log. */
ssize_t write(int fd, const void *from, size_t n) {
  static ssize_t (*next)(int, const void *, size_t);
  int before = errno;
  if (!next) next = (ssize_t (*)(int, const void *, size_t)) dlsym(RTLD_NEXT, "write");
  if (fd == STDERR_FILENO && ordered("cancel") && memmem(from, n, wanted, strlen(wanted)) && taken()) raise(SIGINT);
  errno = before;
  return next(fd, from, n);
}

#define OWN(type, name, what, fail, declared, passed) \
  type name declared { \
    static type (*next) declared; \
    if (!next) next = (type (*) declared) dlsym(RTLD_NEXT, #name); \
    return broken(what, fd) ? fail : next passed; \
  }
OWN(ssize_t, pread, "read", -1, (int fd, void *to, size_t n, off_t at), (fd, to, n, at))
OWN(ssize_t, pread64, "read", -1, (int fd, void *to, size_t n, off64_t at), (fd, to, n, at))
OWN(ssize_t, preadv, "read", -1, (int fd, const struct iovec *to, int n, off_t at), (fd, to, n, at))
OWN(ssize_t, preadv64, "read", -1, (int fd, const struct iovec *to, int n, off64_t at), (fd, to, n, at))
OWN(ssize_t, pwrite, "write", -1, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at))
OWN(ssize_t, pwrite64, "write", -1, (int fd, const void *from, size_t n, off64_t at), (fd, from, n, at))
OWN(ssize_t, pwritev, "write", -1, (int fd, const struct iovec *from, int n, off_t at), (fd, from, n, at))
OWN(ssize_t, pwritev64, "write", -1, (int fd, const struct iovec *from, int n, off64_t at), (fd, from, n, at))
OWN(int, posix_fallocate, "write", EIO, (int fd, off_t at, off_t n), (fd, at, n))
OWN(int, posix_fallocate64, "write", EIO, (int fd, off64_t at, off64_t n), (fd, at, n))
OWN(int, fsync, "sync", -1, (int fd), (fd))
OWN(int, fdatasync, "sync", -1, (int fd), (fd))
"#;

/// How often an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    Once,
    FromNowOn,
}

impl Server {
    /// A server of a test's own, whose disk can break, and whose lines of the log can bring a cancel.
    pub fn breakable(settings: &str) -> Server {
        Server::preloading(settings, compiled)
    }

    /// Lets an operation on a file fail: `read`, `write` or `sync`. A path that ends with a slash is any file there.
    pub fn breaks(&self, operation: &str, times: Times, file: &str) {
        self.order(operation, times, file);
    }

    /// Lets lines of the log with this text bring a cancel to the process that writes them.
    pub fn cancels_with(&self, times: Times, text: &str) {
        self.order("cancel", times, text);
    }

    fn order(&self, operation: &str, times: Times, wanted: &str) {
        let order = self.socket().join("breaking");
        std::fs::write(
            &order,
            format!("{operation} {} {wanted}", if times == Times::Once { "once" } else { "on" }),
        )
        .unwrap();
        // A process of the server takes it away when it was for once.
        std::fs::rename(order, self.socket().join("broken")).unwrap();
    }

    /// Whether an operation is to fail still.
    pub fn is_broken(&self) -> bool {
        self.socket().join("broken").exists()
    }

    /// All is well again.
    pub fn mend(&self) {
        let _ = std::fs::remove_file(self.socket().join("broken"));
    }
}

fn compiled(dir: &Path) -> PathBuf {
    let library = dir.join("broken.so");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-x", "c", "-", "-ldl", "-o"]).arg(&library).stdin(Stdio::piped());
    let mut compiling = cc.spawn().expect("there is a C compiler");
    compiling.stdin.take().unwrap().write_all(SOURCE.as_bytes()).unwrap();
    assert!(compiling.wait().unwrap().success(), "{cc:?}");
    library
}
