//! A database with the extension, a simulator of its own, and a connection between the two.

use crate::{Server, Watch, seconds, wait_until};
use postgres::{Client, SimpleQueryMessage};
use qbo_sim::{Options, Sim};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An error as PostgreSQL reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub sqlstate: String,
    pub message: String,
    pub detail: String,
    pub hint: String,
}

/// A database and its company.
pub struct Database<'a> {
    pub server: &'a Server,
    pub name: String,
    pub sim: Sim,
    /// How long the server's log was when the database was made.
    began: u64,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Days that all records of the simulator's companies lie in, as arguments of qb_backfill.
pub const RANGE: &str = "'2025-07-01', '2025-09-30'";

impl Database<'static> {
    /// A database on the shared server, with a small company.
    pub fn new() -> Self {
        Database::with(Options::default())
    }

    /// With a company of this kind.
    pub fn with(options: Options) -> Self {
        Database::on(Server::shared(), options)
    }
}

impl Default for Database<'static> {
    fn default() -> Self {
        Database::new()
    }
}

impl<'a> Database<'a> {
    /// On a server of the test's own.
    pub fn on(server: &'a Server, options: Options) -> Self {
        let name = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Database::named(server, &name, options)
    }

    /// With a name that something else knows too.
    pub fn named(server: &'a Server, name: &str, options: Options) -> Self {
        let name = name.to_owned();
        let sim = Sim::start(options).unwrap();
        let began = server.log_length();
        server.copy_template(&name);
        let db = Database { server, name, sim, began };
        let ca_file = db.sim.ca_file().map(|path| path.display().to_string());
        let mut settings = vec![
            ("qbo_raw.api_base_url", db.sim.url()),
            ("qbo_raw.oauth_base_url", db.sim.url()),
            ("qbo_raw.retry_delay", "20ms"),
            ("qbo_raw.requests_per_second", "100000"),
            ("qbo_raw.requests_per_minute", "1000000"),
        ];
        settings.extend(ca_file.iter().map(|path| ("qbo_raw.ca_file", path.as_str())));
        let mut client = db.client();
        db.set_in(&mut client, &settings);
        db.connect_in(&mut client);
        db
    }

    /// Sets the connection up with the newest refresh token.
    pub fn connect_company(&self) {
        self.connect_in(&mut self.client());
    }

    fn connect_in(&self, client: &mut Client) {
        let (realm, id, secret, token) = self.sim.credentials();
        client.execute("SELECT raw.qb_connect($1, $2, $3, $4)", &[&realm, &id, &secret, &token]).unwrap();
    }

    /// Goes through the consent of the company, as a person with a browser does; the address the browser was sent back to.
    pub fn consent(&self, connection: &str) -> String {
        let url =
            self.value(&format!("SELECT raw.qb_authorize_url('https://books.example/back', '{connection}')"));
        browse(&url)
    }

    /// Authorizes the default connection again.
    pub fn authorize(&self) {
        let callback = self.consent("default");
        self.client().execute("SELECT raw.qb_authorize($1)", &[&callback]).unwrap();
    }

    /// What psql shows for statements.
    pub fn psql(&self, text: &str) -> String {
        let output = self.server.run("psql", &["-X", "-d", &self.name, "-c", text]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the server has logged since the database was made.
    pub fn log(&self) -> String {
        self.server.log_from(self.began)
    }

    /// A setting of the database, which the worker reads when it starts.
    pub fn set(&self, setting: &str, value: &str) {
        self.set_all(&[(setting, value)]);
    }

    /// Several of them.
    pub fn set_all(&self, settings: &[(&str, &str)]) {
        self.set_in(&mut self.client(), settings);
    }

    fn set_in(&self, client: &mut Client, settings: &[(&str, &str)]) {
        let one = |(setting, value): &(&str, &str)| {
            format!("ALTER DATABASE {} SET {setting} = '{value}';", self.name)
        };
        let all: String = settings.iter().map(one).collect();
        client.batch_execute(&format!("LOAD 'qbo_raw'; {all}")).unwrap();
        self.ask_anew();
    }

    /// A connection as the superuser.
    pub fn client(&self) -> Client {
        self.server.connect(&self.name, "postgres").unwrap()
    }

    /// A connection as a role that can log in.
    pub fn client_as(&self, role: &str) -> Client {
        self.server.connect(&self.name, role).unwrap()
    }

    /// Runs statements.
    pub fn exec(&self, text: &str) {
        if let Err(error) = self.client().batch_execute(text) {
            panic!("{text}: {error:?}");
        }
        self.ask_anew();
    }

    /// All rows of a query, as text; NULL is empty. Until settings or statements are run, it is asked in a session that was
    /// there before.
    pub fn rows(&self, text: &str) -> Vec<Vec<String>> {
        if !text.starts_with("SELECT") {
            return rows(&mut self.client(), text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        }
        let found = self.server.ask(&self.name, |client| rows(client, text));
        found.unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    /// Ends the sessions that were asked: what follows is for new ones only, or is done only when nobody is there.
    pub fn ask_anew(&self) {
        self.server.end_sessions(&self.name);
    }

    /// The first value of a query, as text.
    pub fn value(&self, text: &str) -> String {
        self.rows(text).into_iter().next().and_then(|row| row.into_iter().next()).unwrap_or_default()
    }

    /// The first value of a query, as a number.
    pub fn number(&self, text: &str) -> i64 {
        self.value(text).parse().unwrap_or_else(|_| panic!("{text}: no number"))
    }

    /// The error that statements end with.
    pub fn refused(&self, text: &str) -> Refused {
        refused(&mut self.client(), text)
    }

    /// Queues a run of the whole range in windows of a week; its id.
    pub fn queue(&self, entity: &str) -> i64 {
        self.number(&format!("SELECT raw.qb_backfill('{entity}', {RANGE})"))
    }

    /// Waits for a run to end; its status.
    pub fn ended(&self, run: i64) -> String {
        self.ended_within(run, seconds(300))
    }

    /// The same within a time.
    pub fn ended_within(&self, run: i64, at_most: Duration) -> String {
        self.watch().ended(run, at_most)
    }

    /// For looking again and again.
    pub fn watch(&self) -> Watch<'_> {
        Watch::of(self)
    }

    /// Runs the whole range and expects it to succeed; the run's id.
    pub fn backfill(&self, entity: &str) -> i64 {
        let run = self.queue(entity);
        let status = self.ended(run);
        assert_eq!(
            status,
            "success",
            "{:?}\n{}",
            self.rows(&format!("SELECT * FROM raw.qb_run WHERE run_id = {run}")),
            self.log()
        );
        run
    }

    /// A column of a run.
    pub fn of_run(&self, run: i64, column: &str) -> String {
        self.value(&format!("SELECT {column} FROM raw.qb_run WHERE run_id = {run}"))
    }

    /// Process of the worker that has a run, once there is one; another one may be about to leave.
    pub fn worker(&self) -> i32 {
        let find = "SELECT a.pid FROM pg_stat_activity a JOIN raw.qb_run r ON r.worker_pid = a.pid AND r.status = 'running'
                     WHERE a.backend_type = 'qbo_raw worker' AND a.datname = current_database()";
        let mut pid = String::new();
        wait_until("a worker has a run", seconds(30), || {
            pid = self.value(find);
            !pid.is_empty()
        });
        pid.parse().unwrap()
    }

    /// Waits until a statement with this in it has come to QuickBooks, where it may be held: before that nothing is.
    pub fn asked_for(&self, text: &str) {
        wait_until(&format!("it asks for {text}"), seconds(30), || {
            self.sim.requests().iter().any(|request| request.statement.contains(text))
        });
    }

    /// Whether a worker is at this database.
    pub fn has_worker(&self) -> bool {
        let find = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'qbo_raw worker' AND datname = current_database()";
        self.number(find) > 0
    }

    /// Connects another company, whose simulator is reached at the same place; as the connection of that name.
    pub fn connect_another(&self, sim: &Sim, connection: &str) {
        self.sim.add_company(sim);
        let (realm, id, secret, token) = sim.credentials();
        self.client()
            .execute(
                "SELECT raw.qb_connect($1, $2, $3, $4, connection => $5)",
                &[&realm, &id, &secret, &token, &connection],
            )
            .unwrap();
    }

    /// Checks what must hold after a success: every record of the company is stored, equal as jsonb, and nothing else.
    pub fn check_equal(&self, entity: &str, qbo: &str) {
        self.watch().check_equal(entity, qbo);
    }

    /// The same for a company with its tables in another schema.
    pub fn check_equal_in(&self, schema: &str, sim: &Sim, entity: &str, qbo: &str) {
        equal(&mut self.client(), schema, sim, entity, qbo);
    }

    /// Checks that the report rows of a run tile its range and that their sums are those of the run.
    pub fn check_reports(&self, entity: &str, run: i64) {
        let holes = format!(
            "SELECT count(*) FROM (SELECT window_start, lag(window_end) OVER (ORDER BY window_start) AS before
               FROM raw.backfill_report_{entity} WHERE run_id = {run} AND status = 'success') w
              WHERE window_start <> before"
        );
        assert_eq!(self.value(&holes), "0", "the windows do not touch");
        let sums = format!(
            "SELECT min(window_start) = r.start_date::timestamp AT TIME ZONE 'UTC'
                AND max(window_end) = (r.end_date + 1)::timestamp AT TIME ZONE 'UTC'
                AND count(*) = r.windows_total AND count(*) = r.windows_done
                AND sum(p.row_count) = r.row_count AND sum(p.inserted_count) = r.inserted_count
                AND sum(p.updated_count) = r.updated_count AND sum(p.skipped_count) = r.skipped_count
                AND sum(p.rejected_count) = r.rejected_count AND (SELECT sum(a.request_count) FROM raw.backfill_report_{entity} a WHERE a.run_id = r.run_id) = r.request_count
                AND r.row_count = r.inserted_count + r.updated_count + r.skipped_count + r.rejected_count
               FROM raw.backfill_report_{entity} p JOIN raw.qb_run r USING (run_id)
              WHERE r.run_id = {run} AND p.status = 'success' GROUP BY r.run_id"
        );
        assert_eq!(
            self.value(&sums),
            "t",
            "{:?}",
            self.rows(&format!("SELECT * FROM raw.backfill_report_{entity} WHERE run_id = {run}"))
        );
    }

    /// A client that collects its NOTICEs.
    pub fn listening(&self) -> (Client, Arc<Mutex<Vec<String>>>) {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = heard.clone();
        let mut config = self.server.config(&self.name, "postgres");
        config.notice_callback(move |notice| {
            hears.lock().unwrap().push(format!("{}: {}", notice.severity(), notice.message()));
        });
        (config.connect(postgres::NoTls).unwrap(), heard)
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // Where nobody can look any more there is nothing to see; but the log is still there for who wonders why.
        let leaks = if std::thread::panicking() {
            let log = self.log();
            let end: Vec<&str> = log.lines().rev().take(40).collect();
            let end = end.into_iter().rev().collect::<Vec<_>>().join("\n");
            eprintln!("the end of the server's log:\n{end}");
            Ok(Vec::new())
        } else {
            self.leaks()
        };
        self.ask_anew();
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = self.server.ask("postgres", |admin| admin.batch_execute(&drop));
        let leaks = leaks.unwrap_or_default();
        assert!(leaks.is_empty(), "a secret leaked: {leaks:?}");
    }
}

/// Expects the table of an entity in a schema to hold what the company has, equal as jsonb, and nothing else.
pub(crate) fn equal(client: &mut Client, schema: &str, sim: &Sim, entity: &str, qbo: &str) {
    // A plan for these very values would read them once more, and to compress them takes longest.
    let table = "SET plan_cache_mode = force_generic_plan; CREATE TEMP TABLE truth (id text PRIMARY KEY, payload jsonb);
                 ALTER TABLE truth ALTER COLUMN payload SET STORAGE EXTERNAL";
    client.batch_execute(table).unwrap();
    let insert = client
        .prepare("INSERT INTO truth SELECT id, payload::jsonb FROM unnest($1::text[], $2::text[]) AS u (id, payload)")
        .unwrap();
    for ids in sim.ids(qbo).chunks(1_000) {
        let records: Vec<String> = ids.iter().map(|id| sim.record(qbo, id).unwrap()).collect();
        client.execute(&insert, &[&ids, &records]).unwrap();
    }
    let different = format!(
        "SELECT count(*) FROM truth t FULL JOIN {schema}.qb_{entity} d USING (id) WHERE t.payload IS DISTINCT FROM d.payload"
    );
    let different = rows(client, &different).unwrap();
    assert_eq!(different, vec![vec!["0".to_owned()]], "records that are missing, invented or different");
    let stored = rows(client, &format!("SELECT count(*) FROM {schema}.qb_{entity}")).unwrap();
    assert_eq!(stored, [[sim.count(qbo).to_string()]]);
    client.batch_execute("DROP TABLE truth; RESET plan_cache_mode").unwrap();
}

/// Opens the page of consent and clicks on Connect; the address that the browser is sent back to.
pub fn browse(url: &str) -> String {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().max_redirects(0).http_status_as_error(false).build().into();
    let answer = agent.get(url).call().unwrap();
    assert_eq!(answer.status().as_u16(), 302, "{url}");
    answer.headers()["location"].to_str().unwrap().to_owned()
}

/// All rows of a query, as text.
pub fn rows(client: &mut Client, text: &str) -> Result<Vec<Vec<String>>, postgres::Error> {
    let messages = client.simple_query(text)?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect())
        }
        _ => None,
    });
    Ok(rows.collect())
}

/// The error that statements end with.
pub fn refused(client: &mut Client, text: &str) -> Refused {
    let error = match client.batch_execute(text) {
        Ok(()) => panic!("{text}: it worked"),
        Err(error) => error,
    };
    let error = error.as_db_error().unwrap_or_else(|| panic!("{text}: {error:?}"));
    Refused {
        sqlstate: error.code().code().to_owned(),
        message: error.message().to_owned(),
        detail: error.detail().unwrap_or_default().to_owned(),
        hint: error.hint().unwrap_or_default().to_owned(),
    }
}
