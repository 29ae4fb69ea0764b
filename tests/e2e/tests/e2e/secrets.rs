//! Secrets stay where they belong: canaries of every kind, through every call that handles one, and a look at every place where
//! one could show up.

use qbo_e2e::{Database, Server, browse, seconds, wait_until};
use qbo_sim::{Fault, Options, When};
use std::fs;
use std::time::Duration;

const SETTINGS: &str = "shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track = all
logging_collector = on
log_destination = 'stderr,csvlog,jsonlog'
log_min_messages = debug5
log_min_error_statement = debug5
log_error_verbosity = verbose
log_statement = none
log_connections = on
log_lock_waits = on";

/// What a place said, under its name.
#[derive(Default)]
struct Seen(Vec<(String, String)>);

impl Seen {
    /// Adds what a place says; it must say something that shows that it was read.
    fn add(&mut self, place: impl Into<String>, text: String, needle: &str) {
        let place = place.into();
        assert!(text.contains(needle), "{place} does not say {needle:?}: {text:.500}");
        self.0.push((place, text));
    }
}

/// Everything that sessions and workers of the extension show while a run goes on.
#[derive(Default)]
struct Live {
    activity: String,
    processes: String,
    locks: String,
    progress: String,
}

impl Live {
    fn follow(&mut self, db: &Database, run: i64) {
        wait_until("it ends", seconds(300), || {
            self.activity += &db.value(
                "SELECT string_agg(a::text, ' ') FROM pg_stat_activity a WHERE backend_type = 'qbo_raw worker'",
            );
            self.locks +=
                &db.value("SELECT string_agg(l::text, ' ') FROM pg_locks l WHERE locktype = 'advisory'");
            self.progress += &db.value("SELECT string_agg(p::text, ' ') FROM raw.qb_progress p");
            for pid in
                db.rows("SELECT pid FROM pg_stat_activity WHERE backend_type = 'qbo_raw worker'").concat()
            {
                for file in ["cmdline", "environ", "comm", "status"] {
                    self.processes += &String::from_utf8_lossy(
                        &fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default(),
                    );
                }
            }
            !["queued", "running"].contains(&db.of_run(run, "status").as_str())
        });
    }
}

/// Values in an address, by their names.
fn field(address: &str, name: &str) -> String {
    address.split(&format!("{name}=")).nth(1).unwrap().split('&').next().unwrap().to_owned()
}

/// Calls a function with a secret as a parameter; what the client is told.
fn told(db: &Database, call: &str, secret: &str) -> String {
    let (mut client, heard) = db.listening();
    let said = match client.query_one(&format!("SELECT {call}"), &[&secret]) {
        Ok(row) => row.get::<_, String>(0),
        Err(error) => format!("{error:?}"),
    };
    said + &heard.lock().unwrap().join("\n")
}

#[test]
fn no_secret_shows_up_anywhere() {
    let server = Server::private(SETTINGS);
    let secret = "CANARY-client-secret-71c2a9";
    let db = Database::on(
        &server,
        Options {
            client_secret: secret.to_owned(),
            refresh_token: Some("CANARY-refresh-token-55aa01".to_owned()),
            ..Options::default()
        },
    );
    db.exec("CREATE EXTENSION pg_stat_statements");
    let (mut seen, mut live, mut canaries, mut client) =
        (Seen::default(), Live::default(), Vec::new(), String::new());

    // A good run, tokens that end and rotate, and every fault that repeats what it was sent.
    db.backfill("invoices");
    canaries.push(db.value("SELECT access_token FROM raw.qb_config"));
    db.sim.rotate_next();
    db.sim.expire_access_tokens();
    db.backfill("customers");
    for name in ["401", "401-100", "403", "403-scope", "500", "html", "200-fault", "bad-json", "reset"] {
        db.sim.fault(When::Always, Fault::named(name).unwrap());
        let run = db.queue("items");
        live.follow(&db, run);
        db.sim.clear_faults();
    }
    db.sim.fault_times(When::Always, Fault::Stall(Duration::from_millis(500)), 1);
    let run = db.queue("items");
    live.follow(&db, run);

    // Credentials that are refused: by their form, by Intuit; then good ones again.
    for (call, wrong) in [
        ("raw.qb_connect(refresh_token => $1)", "CANARY token with blanks 08d1"),
        ("raw.qb_connect(client_secret => $1)", "CANARY secret with blanks 9e44"),
        ("raw.qb_connect(client_secret => $1)", "CANARY-wrong-secret-2b7f60"),
        (
            "raw.qb_authorize($1)",
            "https://books.example/back?code=CANARY-code-c0de17&state=CANARY-state-5747e2&realmId=1",
        ),
        ("raw.qb_authorize($1)", "CANARY-no-address-at-all-44c1"),
    ] {
        client += &told(&db, call, wrong);
        canaries.extend(
            ["token with blanks 08d1", "secret with blanks 9e44", "CANARY-wrong-secret-2b7f60"]
                .map(str::to_owned),
        );
        canaries.extend(
            ["CANARY-code-c0de17", "CANARY-state-5747e2", "CANARY-no-address-at-all-44c1"].map(str::to_owned),
        );
    }
    db.sim.expire_access_tokens();
    let run = db.queue("items");
    live.follow(&db, run);
    client += &told(&db, "raw.qb_connect(client_secret => $1)", secret);

    // The gateway repeats the very token it was sent; the refresh token is refused.
    db.sim.expire_access_tokens();
    db.sim.revoke_tokens();
    let run = db.queue("items");
    live.follow(&db, run);
    db.exec("UPDATE raw.qb_config SET auth_state = 'ok', access_expires_at = now() + '1 hour'");
    let run = db.queue("items");
    live.follow(&db, run);

    // A consent: its state, its code, its tokens; the service down in the middle; given back, and once more.
    for down in [true, false] {
        let url = db.value("SELECT raw.qb_authorize_url('https://books.example/back')");
        let callback = browse(&url);
        canaries.extend([field(&url, "state"), field(&callback, "code")]);
        if down {
            db.sim.fault(When::Token, Fault::named("503").unwrap());
        }
        client += &told(&db, "raw.qb_authorize($1)", &callback);
        db.sim.clear_faults();
    }
    canaries.push(db.value("SELECT refresh_token FROM raw.qb_config"));
    client += &format!("{:?}", db.rows("SELECT * FROM raw.qb_check()"));
    client += &format!("{:?}", db.rows("SELECT * FROM raw.qb_verify('items', '2025-07-01', '2025-07-31')"));
    let run = db.queue("items");
    live.follow(&db, run);
    client += &db.psql("SELECT raw.qb_disconnect()");
    client += &format!("{:?}", db.refused("SELECT raw.qb_backfill('items', '2025-07-01', '2025-07-02')"));

    canaries.extend(db.canaries());
    canaries.retain(|canary| canary.len() > 6);
    canaries.sort();
    canaries.dedup();
    assert!(canaries.len() > 15, "{canaries:?}");

    seen.add("messages to the client", client, "is authorized for company");
    seen.add("pg_stat_activity", live.activity, "qbo_raw: run");
    seen.add("/proc", live.processes, "postgres");
    seen.add("pg_locks", live.locks, "advisory");
    seen.add("qb_progress", live.progress, "items");
    seen.add("requests as QuickBooks sees them", format!("{:?}", db.sim.requests()), "SELECT * FROM");
    for (kind, needle) in [("log", "qbo_raw: run"), ("csv", "qbo_raw: run"), ("json", "qbo_raw: run")] {
        let files = fs::read_dir(server.data().join("log")).unwrap().flatten();
        let files = files.filter(|file| file.path().extension().is_some_and(|extension| extension == kind));
        let text = files.map(|file| String::from_utf8_lossy(&fs::read(file.path()).unwrap()).into_owned());
        seen.add(format!("the {kind} log"), text.collect(), needle);
    }
    for (program, arguments) in [("pg_dump", &["-d", db.name.as_str()][..]), ("pg_dumpall", &[])] {
        let dump = server.run(program, arguments);
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        seen.add(program, String::from_utf8_lossy(&dump.stdout).into_owned(), "qb_invoices");
    }
    for view in ["pg_stat_statements", "pg_settings", "pg_db_role_setting", "pg_description", "pg_cursors"] {
        let needle = if view == "pg_stat_statements" { "qb_connect" } else { "" };
        seen.add(view, db.value(&format!("SELECT string_agg(v::text, ' ') FROM {view} v")), needle);
    }
    let relations = "SELECT c.oid::regclass::text FROM pg_class c
        WHERE c.relkind IN ('r', 'v', 'm') AND c.relnamespace = 'raw'::regnamespace AND c.relname <> 'qb_config'";
    for relation in db.rows(relations).concat() {
        let needle = if relation == "raw.qb_run" { "needs_reauth" } else { "" };
        seen.add(&relation, db.value(&format!("SELECT string_agg(r::text, ' ') FROM {relation} r")), needle);
    }
    assert!(seen.0.len() >= 30, "{}", seen.0.len());
    println!("{} canaries, {} places", canaries.len(), seen.0.len());
    let leaks = |text: &str| canaries.iter().find(|canary| text.contains(canary.as_str()));
    let found: Vec<_> = seen.0.iter().filter_map(|(place, text)| Some((leaks(text)?, place))).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_the_config_table_refuses_is_said_without_its_row() {
    let server = Server::private("log_error_verbosity = verbose");
    let db = Database::on(&server, Options::default());
    db.backfill("items");
    db.exec("INSERT INTO raw.qb_config (connection, target_schema) VALUES ('other', 'other')");
    let filled = "SELECT attname FROM pg_attribute WHERE attrelid = 'raw.qb_config'::regclass AND attnum > 0 AND attnotnull";
    let filled = db.rows(filled).concat();
    assert!(filled.len() >= 6, "{filled:?}");
    let mut wrong: Vec<_> =
        ["client_id = 'with blanks'", "page_size = 0", "connection = 'other'", "target_schema = 'other'"]
            .map(|set| (set.to_owned(), String::new(), set.split(' ').next().unwrap().to_owned()))
            .into();
    for column in &filled {
        // Another row with the same secrets, which lacks the value.
        let (name, value) = if column == "connection" { ("", "") } else { (", connection", ", 'third'") };
        let insert = format!(
            "INSERT INTO raw.qb_config (client_secret, refresh_token, {column}{name}) OVERRIDING SYSTEM VALUE
             SELECT client_secret, refresh_token, NULL{value} FROM raw.qb_config WHERE client_secret IS NOT NULL"
        );
        wrong.push((format!("{column} = NULL"), insert, column.clone()));
    }
    for (set, insert, column) in wrong {
        let update = format!("UPDATE raw.qb_config SET {set} WHERE connection = 'default'");
        for statement in [update, insert].into_iter().filter(|statement| !statement.is_empty()) {
            let said = db.refused(&statement);
            let told = [said.message, said.detail, said.hint].concat();
            assert!(told.contains(&column), "{statement}: {told}");
            let leak = db.canaries().into_iter().find(|canary| told.contains(canary));
            assert_eq!(leak, None, "{statement}: {told}");
        }
    }
    let log = db.log();
    assert!(log.contains("auth_state"), "{log}");
    assert!(!log.contains("Failing row"), "{log}");
    assert!(!db.canaries().iter().any(|canary| log.contains(canary)), "{log}");
}

/// From 16 on auto_explain logs the parameters of what takes long; tokens and records travel as parameters.
#[test]
fn statements_of_the_worker_are_not_explained() {
    let server = Server::private("shared_preload_libraries = 'auto_explain'");
    let db = Database::on(&server, Options::default());
    let mut secrets = vec![db.sim.refresh_token(), db.sim.client_secret()];
    // Only now: what a person types is logged as he typed it.
    server.sql("postgres", "ALTER SYSTEM SET auto_explain.log_min_duration = 0");
    server.sql("postgres", "SELECT pg_reload_conf()");
    wait_until("others are explained", seconds(20), || {
        db.number("SELECT count(*) FROM raw.qb_run") == 0 && db.log().contains("Query Text")
    });
    db.sim.rotate_next();
    db.backfill("items");
    secrets.extend([db.sim.refresh_token(), db.value("SELECT access_token FROM raw.qb_config")]);
    let log = db.log();
    for secret in &secrets {
        assert!(!log.contains(secret.as_str()), "{secret} is in the log");
    }
    assert!(!log.contains("MetaData"), "a record is in the log");
}
