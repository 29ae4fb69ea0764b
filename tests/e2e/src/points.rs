//! Holding the extension at a named point, where it was built with them; see `src/point.rs`.

use crate::{Server, program, seconds, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

impl Server {
    /// Who comes to the point next is held there, after so many were let pass.
    pub fn arm(&self, point: &str, pass: u32) {
        self.arm_with(&format!("{point} {pass}"));
    }

    /// Who comes to the point next panics there when he is let go on.
    pub fn arm_panic(&self, point: &str, pass: u32) {
        self.arm_with(&format!("{point} {pass} panic"));
    }

    /// Whether somebody did, since that was asked last.
    pub fn panicked(&self) -> bool {
        std::fs::remove_file(self.socket().join("panicked")).is_ok()
    }

    fn arm_with(&self, text: &str) {
        self.disarm();
        let armed = self.socket().join("armed");
        let written = self.socket().join("arming");
        std::fs::write(&written, text).unwrap();
        std::fs::rename(written, armed).unwrap();
    }

    /// Nobody is held any more.
    pub fn disarm(&self) {
        for file in ["armed", "reached"] {
            let _ = std::fs::remove_file(self.socket().join(file));
        }
    }

    /// Process that is held at the point, if one is.
    pub fn held(&self) -> Option<i32> {
        std::fs::read_to_string(self.socket().join("reached")).ok()?.parse().ok()
    }

    /// Process that is held at the point, once one is.
    pub fn wait_held(&self, point: &str, at_most: Duration) -> i32 {
        wait_until(&format!("somebody comes to {point}"), at_most, || self.held().is_some());
        self.held().unwrap()
    }

    /// Lets it go on.
    pub fn release(&self) {
        let _ = std::fs::remove_file(self.socket().join("reached"));
    }

    /// Process of the postmaster.
    pub fn postmaster(&self) -> i32 {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        file.lines().next().unwrap().trim().parse().unwrap()
    }

    /// Ends a process at once, and sees it gone.
    pub fn kill(&self, pid: i32) {
        signal(pid, libc::SIGKILL);
        wait_until(&format!("{pid} is gone"), seconds(20), || !is_alive(pid));
    }

    /// Waits until the server takes connections.
    pub fn wait_ready(&self) {
        // A session that was there before may live for a moment after a crash, while no new one is let in.
        wait_until("the server takes connections", seconds(30), || {
            self.connect("postgres", "postgres").is_ok()
        });
    }
}

/// Sends a signal to a process of ours.
pub fn signal(pid: i32, signal: i32) {
    // SAFETY: only sends; a process that is gone is none of our business.
    unsafe {
        libc::kill(pid, signal);
    }
}

/// Whether a process is there and no zombie.
pub fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// Whether the postmaster has seen that a process is gone: it has not while there is a zombie. After a crash it takes no
/// connections from then on, until it has begun anew.
pub fn is_reaped(pid: i32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

/// Names of all points, as the source has them.
pub fn points() -> Vec<String> {
    fn walk(dir: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            found.extend(
                text.split("point!(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())),
            );
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src"), &mut found);
    found.sort();
    found
}

/// The library that is installed beside the pg_config under test.
pub fn library() -> Vec<u8> {
    let output = Command::new(program("pg_config")).arg("--pkglibdir").output().unwrap();
    let dir = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    std::fs::read(dir.join("qbo_raw.so")).unwrap()
}

/// Which of these names a library does not have.
pub fn lacks(library: &[u8], names: &[String]) -> Vec<String> {
    // A text is searched much faster than bytes are, one by one.
    let text = String::from_utf8_lossy(library);
    names.iter().filter(|name| !text.contains(name.as_str())).cloned().collect()
}
