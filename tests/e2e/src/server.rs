//! Private servers. The tree of the PostgreSQL under test is named by `QBO_RAW_PG_CONFIG`; data directories lie beside it.
//! A watchdog ends a server when the test process is gone, however it went.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Settings of every server. `fsync` off is fine for tests that kill processes: the page cache survives them.
const CONF: &str = "
fsync = off
listen_addresses = ''
port = 5432
max_connections = 120
max_worker_processes = 60
autovacuum_naptime = 5s
log_min_messages = warning
log_line_prefix = '%m [%p] %b %d '
restart_after_crash = on
";

/// A running server.
pub struct Server {
    data: PathBuf,
    socket: PathBuf,
}

static COUNT: AtomicU32 = AtomicU32::new(0);
static SHARED: OnceLock<Server> = OnceLock::new();

impl Server {
    /// The server that tests share; each has its own database there. It has the template that databases are made from.
    pub fn shared() -> &'static Server {
        SHARED.get_or_init(|| Server::private(""))
    }

    /// A server of a test's own, which it may kill; with more settings.
    pub fn private(settings: &str) -> Server {
        let server = Server::empty(settings);
        server.start();
        server.sql("postgres", "CREATE DATABASE qbo_template");
        server.sql("qbo_template", "CREATE EXTENSION qbo_raw");
        server
    }

    /// One that was never started.
    pub fn empty(settings: &str) -> Server {
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let data = work().join("clusters").join(&name);
        let socket = PathBuf::from(format!("/tmp/qbo_raw-{name}"));
        for dir in [&work().join("clusters"), &data, &socket] {
            std::fs::create_dir_all(dir).unwrap();
            give_to_server(dir);
        }
        let initdb = program("initdb");
        succeed(
            as_server(&initdb)
                .args(["-A", "trust", "-N", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"])
                .arg(&data),
        );
        let conf = data.join("postgresql.conf");
        let more = format!("{CONF}unix_socket_directories = '{}'\n{settings}\n", socket.display());
        let text = std::fs::read_to_string(&conf).unwrap() + &more;
        std::fs::write(&conf, text).unwrap();
        let server = Server { data, socket };
        server.watch();
        server
    }

    /// A streaming standby of `primary`, running.
    pub fn standby(primary: &Server, settings: &str) -> Server {
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let data = work().join("clusters").join(&name);
        let socket = PathBuf::from(format!("/tmp/qbo_raw-{name}"));
        std::fs::create_dir_all(&socket).unwrap();
        give_to_server(&socket);
        succeed(
            as_server(&program("pg_basebackup"))
                .args(["-U", "postgres", "-c", "fast", "-X", "stream", "-R", "-h"])
                .arg(&primary.socket)
                .arg("-D")
                .arg(&data),
        );
        let conf = data.join("postgresql.conf");
        let more = format!("\nunix_socket_directories = '{}'\n{settings}\n", socket.display());
        let text = std::fs::read_to_string(&conf).unwrap() + &more;
        std::fs::write(&conf, text).unwrap();
        let server = Server { data, socket };
        server.watch();
        server.start();
        server
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        let output = self.ctl(&["promote"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Ends the server when this process is gone.
    fn watch(&self) {
        let stop = "\"$0\" -D \"$1\" stop -m immediate -w; rm -rf \"$1\" \"$2\"";
        afterwards(as_server(Path::new("bash")), stop, &[&program("pg_ctl"), &self.data, &self.socket]);
    }

    fn ctl(&self, args: &[&str]) -> Output {
        let mut command = as_server(&program("pg_ctl"));
        command
            .arg("-D")
            .arg(&self.data)
            .args(["-s", "-w", "-t", "60", "-l"])
            .env("QBO_RAW_POINTS", &self.socket)
            .arg(self.log_file())
            .args(args);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Starts it.
    pub fn start(&self) {
        let output = self.ctl(&["start"]);
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), self.log());
    }

    /// Starts it; false: it does not start, yet.
    pub fn try_start(&self) -> bool {
        self.ctl(&["start"]).status.success()
    }

    /// Stops it in a mode of pg_ctl; how long that took.
    pub fn stop(&self, mode: &str) -> Duration {
        let began = Instant::now();
        let output = self.ctl(&["stop", "-m", mode]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        began.elapsed()
    }

    fn log_file(&self) -> PathBuf {
        self.data.join("server.log")
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where its socket is.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A connection as a role; None while the server does not take any.
    pub fn connect(&self, database: &str, role: &str) -> Result<postgres::Client, postgres::Error> {
        self.config(database, role).connect(postgres::NoTls)
    }

    /// The same, to be changed before it is used.
    pub fn config(&self, database: &str, role: &str) -> postgres::Config {
        let mut config = postgres::Config::new();
        config.host_path(&self.socket).user(role).dbname(database).connect_timeout(Duration::from_secs(5));
        config
    }

    /// Runs statements as the superuser.
    pub fn sql(&self, database: &str, text: &str) {
        self.connect(database, "postgres").unwrap().batch_execute(text).unwrap();
    }

    /// Runs a program of PostgreSQL against this server; its output.
    pub fn run(&self, name: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program(name));
        command
            .env("PGHOST", &self.socket)
            .env("PGPORT", "5432")
            .env("PGUSER", "postgres")
            .env_remove("RUST_BACKTRACE")
            .args(args);
        command.stdin(Stdio::null()).output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ctl(&["stop", "-m", "immediate"]);
        let _ = std::fs::remove_dir_all(&self.data);
        let _ = std::fs::remove_dir_all(&self.socket);
    }
}

/// Programs are found through pg_config.
pub fn program(name: &str) -> PathBuf {
    let config = std::env::var("QBO_RAW_PG_CONFIG")
        .expect("QBO_RAW_PG_CONFIG names the pg_config of a private tree; see make test");
    PathBuf::from(config).parent().unwrap().join(name)
}

fn work() -> PathBuf {
    PathBuf::from(std::env::var("QBO_RAW_WORK").unwrap_or_else(|_| "/var/tmp/qbo_raw".to_owned()))
}

fn is_root() -> bool {
    // SAFETY: no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// PostgreSQL refuses to run as root; then its programs run as the user postgres.
pub fn as_server(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env_remove("RUST_BACKTRACE").current_dir("/");
    command
}

pub(crate) fn give_to_server(dir: &Path) {
    if is_root() {
        succeed(Command::new("chown").arg("postgres").arg(dir));
    }
}

/// Runs a script when this process is gone, however it went; the arguments are $0, $1 and so on. The shell outlives us on
/// purpose: nobody is left to wait for it.
#[allow(clippy::zombie_processes)]
pub(crate) fn afterwards(mut bash: Command, script: &str, args: &[&Path]) {
    // When a process began tells it from a later one with its number.
    let script = format!(
        "began() {{ sed 's/.*) //' /proc/{}/stat 2>/dev/null | cut -d' ' -f20; }}; ours=$(began)
         while [ -n \"$ours\" ] && [ \"$(began)\" = \"$ours\" ]; do sleep 0.3; done
         {script}",
        std::process::id()
    );
    // A group of its own: what ends the tests as a group must not end it.
    bash.process_group(0).args(["-c", &script]).args(args);
    bash.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
