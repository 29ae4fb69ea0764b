//! What a server may run out of: a small disk that a test fills and frees, and the limits of a running process.

use crate::server::{afterwards, as_server, give_to_server};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file system of its own, in memory. It is taken away with this, and by a watchdog when the test process is gone.
pub struct Disk {
    dir: PathBuf,
    watchdog: Child,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Disk {
    /// An empty one of this size, which belongs to the user of the servers.
    pub fn new(megabytes: u32) -> Disk {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!("/tmp/qbo_raw-disk-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=0700"), "qbo_raw"]).arg(&dir);
        let output = mount.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "a full disk is tested on one that is mounted: run it as root; {said}"
        );
        let watchdog = afterwards(Command::new("bash"), "umount -l \"$0\"; rmdir \"$0\"", &[&dir]);
        give_to_server(&dir);
        Disk { dir, watchdog }
    }

    /// Where it is mounted.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Leaves no room on it.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).unwrap();
        // A file system in memory has pages of this size.
        let page = [0; 4096];
        while file.write_all(&page).is_ok() {}
    }

    /// Gives back what `fill` took.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.dir.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Its input ends here too.
        let _ = self.watchdog.wait();
    }
}

/// A limit of a process, and so of all that it starts from now on. Dropped, it is as it was.
pub struct Limit {
    pid: i32,
    resource: &'static str,
    before: String,
}

impl Limit {
    /// Allows a process of a server so much of a resource, by its name in prlimit(1).
    pub fn new(pid: i32, resource: &'static str, most: u64) -> Limit {
        let look = format!("--{resource}");
        let output = prlimit(pid).args([&look, "--output=SOFT", "--noheadings", "--raw"]).output().unwrap();
        let before = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        let limit = Limit { pid, resource, before };
        assert!(limit.set(&most.to_string()), "the limit {resource} of process {pid} cannot be set");
        limit
    }

    /// Only the soft limit, which its owner may raise again.
    fn set(&self, most: &str) -> bool {
        let soft = format!("--{}={most}:", self.resource);
        prlimit(self.pid).arg(soft).stderr(Stdio::null()).status().unwrap().success()
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // The process may be gone.
        self.set(&self.before);
    }
}

/// As the process's own user: root may not do it everywhere.
fn prlimit(pid: i32) -> Command {
    let mut command = as_server(Path::new("prlimit"));
    command.args(["--pid", &pid.to_string()]);
    command
}
