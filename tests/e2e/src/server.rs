//! Private servers. The tree of the PostgreSQL under test is named by `QBO_RAW_PG_CONFIG`. The first is made by initdb and
//! every other is a copy of it; they lie in memory where there is enough, since making and dropping databases is what the
//! tests do most. A watchdog ends a server when the test process is gone, however it went.

use crate::AtLast;
use crate::watch::Kept;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Settings of every server. `fsync` off is fine for tests that kill processes: the page cache survives them.
const CONF: &str = "
fsync = off
timezone = 'UTC'
listen_addresses = ''
port = 5432
max_connections = 120
max_worker_processes = 60
max_wal_size = 256MB
autovacuum_naptime = 5s
log_min_messages = warning
log_line_prefix = '%m [%p] %b %d '
restart_after_crash = on
";

/// A running server.
pub struct Server {
    data: PathBuf,
    socket: PathBuf,
    watchdog: Child,
    copying: Mutex<()>,
    /// Sessions of the superuser that nobody uses at the moment, by database.
    sessions: Mutex<HashMap<String, Vec<Kept>>>,
    /// A library that its processes load before any other.
    preload: Option<PathBuf>,
}

static COUNT: AtomicU32 = AtomicU32::new(0);
static FIRST: OnceLock<Server> = OnceLock::new();
static SHARED: OnceLock<Server> = OnceLock::new();

impl Server {
    /// The server that tests share; each has its own database there. It has the template that databases are made from.
    pub fn shared() -> &'static Server {
        SHARED.get_or_init(|| Server::private(""))
    }

    /// A server of a test's own, which it may kill; with more settings.
    pub fn private(settings: &str) -> Server {
        Server::copy_to(place(), settings, |_| None)
    }

    /// The same, with a library that its processes load before any other; made at the place that is given.
    pub(crate) fn preloading(settings: &str, make: impl Fn(&Path) -> PathBuf) -> Server {
        Server::copy_to(place(), settings, |server| Some(make(&server.socket)))
    }

    /// The same with its data on the disk, wherever those of others are.
    pub fn on_disk(settings: &str) -> Server {
        Server::copy_to(&on_disk(), settings, |_| None)
    }

    fn copy_to(place: &Path, settings: &str, preload: impl Fn(&Server) -> Option<PathBuf>) -> Server {
        let first = FIRST.get_or_init(Server::first);
        let mut server = Server::nowhere(place);
        server.preload = preload(&server);
        succeed(as_server(Path::new("cp")).args(["-a", "--"]).arg(&first.data).arg(&server.data));
        server.configure(settings);
        server.start();
        server
    }

    /// One that was never started, and knows nothing of the extension.
    pub fn empty(settings: &str) -> Server {
        let server = Server::nowhere(place());
        succeed(
            as_server(&program("initdb"))
                .args(["-A", "trust", "-N", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"])
                .arg(&server.data),
        );
        server.configure(&format!("{CONF}{settings}"));
        server
    }

    /// The server that the others are copies of: it has the template that databases are made from, and is stopped.
    fn first() -> Server {
        let server = Server::empty("");
        server.start();
        server.sql("postgres", "CREATE DATABASE qbo_template");
        server.sql("qbo_template", "CREATE EXTENSION qbo_raw");
        server.stop("fast");
        std::fs::remove_file(server.log_file()).unwrap();
        server
    }

    /// A streaming standby of `primary`, running.
    pub fn standby(primary: &Server, settings: &str) -> Server {
        let server = Server::nowhere(place());
        succeed(
            as_server(&program("pg_basebackup"))
                .args(["-U", "postgres", "-c", "fast", "-X", "stream", "-R", "-h"])
                .arg(&primary.socket)
                .arg("-D")
                .arg(&server.data),
        );
        server.configure(settings);
        server.start();
        server
    }

    /// A place for a server, with its watchdog; its data directory is still to be made.
    fn nowhere(place: &Path) -> Server {
        let name = format!("qbo_raw-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (data, socket) = (place.join(&name), Path::new("/tmp").join(&name));
        std::fs::create_dir(&socket).unwrap();
        give_to_server(&socket);
        let watchdog = watch(&data, &socket);
        let (copying, sessions) = (Mutex::default(), Mutex::default());
        Server { data, socket, watchdog, copying, sessions, preload: None }
    }

    /// Adds settings; the last of several counts.
    fn configure(&self, settings: &str) {
        let conf = self.data.join("postgresql.conf");
        let text = std::fs::read_to_string(&conf).unwrap();
        let more = format!("\n{settings}\nunix_socket_directories = '{}'\n", self.socket.display());
        std::fs::write(&conf, text + &more).unwrap();
    }

    /// Commits wait for a standby, or for one that is not there, until this ends.
    pub fn synchronous(&self, standby: &str) -> AtLast<impl FnMut()> {
        self.sql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'"));
        self.sql("postgres", "SELECT pg_reload_conf()");
        AtLast(|| {
            for text in ["ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()"] {
                let _ =
                    self.connect("postgres", "postgres").and_then(|mut client| client.batch_execute(text));
            }
        })
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        let output = self.ctl(&["promote"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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
        if let Some(library) = &self.preload {
            command.env("LD_PRELOAD", library);
        }
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
        self.sessions.lock().unwrap().clear();
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
        self.log_from(0)
    }

    /// What stands in the log after so many bytes.
    pub fn log_from(&self, began: u64) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(self.log_file()) {
            file.seek(SeekFrom::Start(began)).unwrap();
            file.read_to_end(&mut text).unwrap();
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// How many bytes that is.
    pub fn log_length(&self) -> u64 {
        std::fs::metadata(self.log_file()).map_or(0, |file| file.len())
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
        // What never ends fails.
        config.options("-c statement_timeout=30min");
        config
    }

    /// Asks something as the superuser, in a session that was there before if one is.
    pub(crate) fn ask<T>(
        &self,
        database: &str,
        question: impl FnMut(&mut postgres::Client) -> Result<T, postgres::Error>,
    ) -> Result<T, postgres::Error> {
        let free = self.sessions.lock().unwrap().get_mut(database).and_then(Vec::pop);
        let mut session = free.unwrap_or_else(|| Kept::new(self.config(database, "postgres")));
        let answer = session.ask(question);
        self.sessions.lock().unwrap().entry(database.to_owned()).or_default().push(session);
        answer
    }

    /// Ends these sessions.
    pub(crate) fn end_sessions(&self, database: &str) {
        self.sessions.lock().unwrap().remove(database);
    }

    /// Runs statements as the superuser.
    pub fn sql(&self, database: &str, text: &str) {
        self.sessions.lock().unwrap().clear();
        self.connect(database, "postgres").unwrap().batch_execute(text).unwrap();
    }

    /// Makes a database with the extension.
    pub fn copy_template(&self, name: &str) {
        // Two copies of one template at once get in each other's way.
        let _one_at_a_time = self.copying.lock();
        // To copy the files is half the work of writing every page to the WAL, and a crash has as much less to replay.
        let make = format!("CREATE DATABASE {name} TEMPLATE qbo_template STRATEGY file_copy");
        self.ask("postgres", |admin| admin.batch_execute(&make)).unwrap();
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
        // Its input ends here too.
        let _ = self.watchdog.wait();
    }
}

/// Ends a server when it was dropped, or this process is gone.
fn watch(data: &Path, socket: &Path) -> Child {
    let stop = "\"$0\" -D \"$1\" stop -m immediate -w; rm -rf \"$1\" \"$2\"";
    afterwards(as_server(Path::new("bash")), stop, &[&program("pg_ctl"), data, socket])
}

/// Runs a script when nobody holds the input of the shell any more: it was dropped, or this process is gone, however it
/// went. The arguments are $0, $1 and so on.
pub(crate) fn afterwards(mut bash: Command, script: &str, args: &[&Path]) -> Child {
    // A group of its own: what ends the tests as a group must not end it.
    bash.process_group(0).arg("-c").arg(format!("read -r; {script}")).args(args);
    bash.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Programs are found through pg_config.
pub fn program(name: &str) -> PathBuf {
    let config = std::env::var("QBO_RAW_PG_CONFIG")
        .expect("QBO_RAW_PG_CONFIG names the pg_config of a private tree; see make test");
    PathBuf::from(config).parent().unwrap().join(name)
}

/// Where data directories are.
fn place() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| if memory_is_plenty() { PathBuf::from(MEMORY) } else { on_disk() })
}

/// A file system in memory, which containers may have in miniature.
const MEMORY: &str = "/dev/shm";

/// What all servers together may take of it, and as much again for the programs.
const PLENTY: u64 = 4 << 30;

fn memory_is_plenty() -> bool {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap_or_default();
    let available = line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
    let Ok(output) = Command::new("df").args(["--output=fstype,avail", "-B1", MEMORY]).output() else {
        return false;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let words: Vec<&str> = text.lines().last().unwrap_or_default().split_whitespace().collect();
    let room = words.last().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
    words.first() == Some(&"tmpfs") && room >= PLENTY && available * 1024 >= 2 * PLENTY
}

fn on_disk() -> PathBuf {
    let work = std::env::var("QBO_RAW_WORK").unwrap_or_else(|_| "/var/tmp/qbo_raw".to_owned());
    let clusters = Path::new(&work).join("clusters");
    std::fs::create_dir_all(&clusters).unwrap();
    give_to_server(&clusters);
    clusters
}

fn is_root() -> bool {
    // SAFETY: no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// User and group that PostgreSQL runs as where we are root, whom it refuses.
fn server_user() -> Option<(u32, u32)> {
    static USER: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    let id = |of: &str| {
        let output = Command::new("id").args([of, "postgres"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().expect("there is a user postgres")
    };
    *USER.get_or_init(|| is_root().then(|| (id("-u"), id("-g"))))
}

/// A program as the user of the servers.
pub fn as_server(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = server_user() {
        command.uid(user).gid(group);
    }
    command.env_remove("RUST_BACKTRACE").current_dir("/");
    command
}

pub(crate) fn give_to_server(path: &Path) {
    if let Some((user, group)) = server_user() {
        std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
    }
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
