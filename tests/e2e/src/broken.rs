//! A disk that breaks: a library that a server's processes load before libc lets reads, writes or syncs of a file fail with
//! EIO, once or from then on. It is compiled where it is needed.

use crate::Server;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What fails is told by the file `broken` in the directory that the server's named points use as well: an operation, how
/// often, and the end of a path, or a part of it that ends with a slash.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int broken(const char *what, int fd) {
  char path[512], order[512], operation[16], times[16], wanted[256], link[64], file[512];
  int before = errno, length, of;
  const char *dir = getenv("QBO_RAW_POINTS"), *found;
  if (!dir) return 0;
  snprintf(path, sizeof path, "%s/broken", dir);
  of = open(path, O_RDONLY);
  errno = before;
  if (of < 0) return 0;
  length = read(of, order, sizeof order - 1);
  close(of);
  order[length < 0 ? 0 : length] = 0;
  if (sscanf(order, "%15s %15s %255s", operation, times, wanted) != 3 || strcmp(operation, what)) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  length = readlink(link, file, sizeof file - 1);
  file[length < 0 ? 0 : length] = 0;
  found = strstr(file, wanted);
  errno = before;
  if (!found || (found[strlen(wanted)] && wanted[strlen(wanted) - 1] != '/')) return 0;
  if (!strcmp(times, "once") && unlink(path)) { errno = before; return 0; }
  errno = EIO;
  return 1;
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
    /// A server of a test's own, whose disk can break.
    pub fn breakable(settings: &str) -> Server {
        Server::preloading(settings, compiled)
    }

    /// Lets an operation on a file fail: `read`, `write` or `sync`. A path that ends with a slash is any file there.
    pub fn breaks(&self, operation: &str, times: Times, file: &str) {
        let order = self.socket().join("breaking");
        std::fs::write(
            &order,
            format!("{operation} {} {file}", if times == Times::Once { "once" } else { "on" }),
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
