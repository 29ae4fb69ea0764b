//! Hostile calls: every function of the schema with values that nobody should hand to it, one argument at a time and all at
//! once. Each call returns, or raises an SQLSTATE that the comment on the function names; nothing else happens.

use crate::hostile::values;
use postgres::{Client, SimpleQueryMessage};
use qbo_e2e::{Database, Server, rows, seconds, wait_until};
use qbo_sim::Options;
use std::time::{Duration, Instant};

/// What each function may raise, which is exactly what its comment says. A function that is not here fails the test.
const RAISES: &[(&str, &[&str])] = &[
    ("qb_authorize", &["08006", "22004", "25006", "28000", "53400", "55000"]),
    ("qb_authorize_url", &["22004", "22023", "25006", "55000"]),
    ("qb_backfill", &["22004", "22023", "25006", "55000"]),
    ("qb_backfill_windows", &["22004", "22023", "25006", "55000"]),
    ("qb_cancel", &["22004", "22023", "25006"]),
    ("qb_check", &["22004", "22023"]),
    ("qb_connect", &["22004", "22023", "23505", "42501", "55000"]),
    ("qb_coverage", &["22004", "22023"]),
    ("qb_disconnect", &["08006", "22004", "22023", "25006", "53400", "55000"]),
    ("_qb_entity", &["22004", "22023"]),
    ("qb_fill_gaps", &["22004", "22023", "25006", "55000"]),
    ("qb_gaps", &["22004", "22023"]),
    ("qb_plan", &["08006", "22004", "22023", "25006", "53400", "55000", "55006"]),
    ("qb_purge_reports", &["22004", "22023", "25006"]),
    ("qb_resume", &["22004", "22023", "25006", "55000"]),
    ("qb_retry_failed", &["22004", "22023", "25006", "55000"]),
    ("qb_schedule_once", &["22004", "22023", "42501", "55000"]),
    ("qb_tick", &["25006"]),
    ("qb_verify", &["08006", "22004", "22023", "25006", "53400", "55000", "55006"]),
    ("qb_wait", &["22023", "25001", "25006", "28000", "38000", "57014"]),
];

/// Parts of the others, which are called by them only; their arguments were looked at before.
const PARTS: &[(&str, &[&str])] = &[
    ("_qb_bar", &[]),
    ("_qb_catalogue", &[]),
    ("_qb_check_page_size", &["22004", "22023"]),
    ("_qb_check_range", &["22023"]),
    ("_qb_clock", &[]),
    ("_qb_paused_until", &[]),
    ("_qb_count", &["22004", "22023"]),
    ("_qb_day_of", &["22008"]),
    ("_qb_days", &["22004", "22023"]),
    // Without pg_cron there is nothing that could call it; no time is that early.
    ("_qb_fire", &["22004", "22008", "22023"]),
    ("_qb_instant", &[]),
    ("_qb_is_utf8", &[]),
    ("_qb_lost", &["22004", "22023"]),
    ("_qb_probe", &["22004", "22023"]),
    ("_qb_purge_before", &["22004"]),
    ("_qb_report_of", &["22004", "22023"]),
    ("_qb_token_is_idle", &[]),
    ("_qb_wait_look", &["22008", "22023"]),
    ("_qb_wait_may", &["25001"]),
    ("_qb_workers", &[]),
];

/// What an argument is while another one is hostile.
fn good(function: &str, argument: &str) -> &'static str {
    match (function, argument) {
        // Nothing is to be given back to Intuit.
        ("qb_disconnect", "connection") => "'nobody'",
        (_, "entity" | "name") => "'invoices'",
        (_, "start_date" | "end_date") => "'2025-07-02'::date",
        (_, "chunk_days") => "7",
        (_, "page_size") => "100",
        (_, "window_on") => "'updated'",
        (_, "connection") => "'default'",
        (_, "windows") => "'{\"[2025-07-05Z,2025-07-06Z)\"}'::tstzrange[]",
        // The run that waits.
        ("qb_wait" | "_qb_wait_look", "run_id") => "7::bigint",
        (_, "run_id") => "1::bigint",
        (_, "run_at") => "now() + interval '1 hour'",
        (_, "began" | "before") => "now()",
        (_, "within" | "timeout") => "interval '0'",
        (_, "older_than") => "interval '2 years'",
        (_, "done" | "total") => "5::bigint",
        (_, "width") => "8",
        (_, "seconds") => "5::float8",
        (_, "shown" | "value" | "job") => "''",
        (_, "stored") => "true",
        (_, "redirect_uri") => "'https://books.example/back'",
        (_, "callback_url") => "'https://books.example/back?code=a&state=b&realmId=1'",
        (_, "config") => "NULL::raw.qb_config",
        _ => "NULL",
    }
}

struct Function {
    name: String,
    procedure: bool,
    /// Name and type of each argument.
    arguments: Vec<(String, String)>,
}

fn functions(db: &Database) -> Vec<Function> {
    let found = db.rows(
        "SELECT p.proname, p.prokind, array_to_string(ARRAY(
                  SELECT p.proargnames[i] || ':' || format_type(p.proargtypes[i - 1], NULL)
                    FROM generate_series(1, p.pronargs) i ORDER BY i), '|')
           FROM pg_proc p
          WHERE p.pronamespace = 'raw'::regnamespace AND p.prorettype <> 'trigger'::regtype
          ORDER BY p.prokind DESC, p.proname = '_qb_wait_look' DESC, p.proname",
    );
    let argument = |text: &str| text.split_once(':').map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    let function = |row: Vec<String>| Function {
        arguments: row[2].split('|').filter_map(argument).collect(),
        procedure: row[1] == "p",
        name: row[0].clone(),
    };
    found.into_iter().map(function).collect()
}

/// How many calls of a function have all arguments hostile.
fn at_random() -> usize {
    std::env::var("QBO_RAW_CALLS").map_or(25, |text| text.parse().expect("a number"))
}

/// The calls of a function: each hostile value beside good ones, and all arguments hostile, chosen by a fixed sequence.
fn calls(function: &Function) -> Vec<String> {
    let mut chosen = Vec::new();
    let good: Vec<String> =
        function.arguments.iter().map(|(name, _)| good(&function.name, name).to_owned()).collect();
    let hostile: Vec<Vec<String>> = function.arguments.iter().map(|(_, kind)| values(kind)).collect();
    for (place, bad) in hostile.iter().enumerate() {
        for value in bad {
            let mut arguments = good.clone();
            arguments[place] = value.clone();
            chosen.push(arguments);
        }
    }
    let mut state: u64 = 1;
    for _ in 0..if hostile.len() > 1 { at_random() } else { 0 } {
        let mut pick = |values: &Vec<String>| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            values[(state >> 33) as usize % values.len()].clone()
        };
        chosen.push(hostile.iter().map(&mut pick).collect());
    }
    if hostile.is_empty() {
        chosen.push(Vec::new());
    }
    let verb = if function.procedure { "CALL" } else { "SELECT * FROM" };
    chosen.iter().map(|arguments| format!("{verb} raw.{}({})", function.name, arguments.join(", "))).collect()
}

/// Runs of another role, one in each state: 1 succeeded; the others are rows only. What pg_cron has.
const SCENE: &str = "
    INSERT INTO raw.qb_run (connection, entity, start_date, end_date, chunk_days, page_size, window_on, requested_by, status,
                            windows_total, cancel_requested_at)
    SELECT 'default', 'bills', '2025-07-01', '2025-07-02', n, 100, 'updated', 'other', s, 1,
           CASE s WHEN 'running' THEN now() END
      FROM unnest('{failed,partial,cancelled,blocked_auth,running,queued}'::text[]) WITH ORDINALITY AS u (s, n);
    CREATE SCHEMA cron;
    CREATE TABLE cron.job (jobid bigserial, jobname text UNIQUE, schedule text, command text, username name DEFAULT current_user);
    CREATE FUNCTION cron.schedule(text, text, text) RETURNS bigint LANGUAGE sql AS $$
      INSERT INTO cron.job (jobname, schedule, command) VALUES ($1, $2, $3)
      ON CONFLICT (jobname) DO UPDATE SET schedule = excluded.schedule RETURNING jobid $$;
    GRANT USAGE ON SCHEMA cron TO PUBLIC;
    GRANT ALL ON ALL TABLES IN SCHEMA cron TO PUBLIC;
    GRANT ALL ON ALL SEQUENCES IN SCHEMA cron TO PUBLIC";

/// Everything that a statement could have made.
const OBJECTS: &str = "
    SELECT 'class', relname::text FROM pg_class UNION ALL SELECT 'schema', nspname FROM pg_namespace
    UNION ALL SELECT 'function', proname FROM pg_proc UNION ALL SELECT 'type', typname FROM pg_type
    UNION ALL SELECT 'role', rolname FROM pg_roles UNION ALL SELECT 'database', datname FROM pg_database
    UNION ALL SELECT 'setting', setconfig::text FROM pg_db_role_setting ORDER BY 1, 2";

const CHECKPOINTER: &str = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";

/// What a call came to: what it returned first, or SQLSTATE and message.
fn outcome(client: &mut Client, call: &str) -> Result<String, (String, String)> {
    match client.simple_query(call) {
        Ok(messages) => {
            let first = messages.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(
                    (0..row.len()).map(|at| row.get(at).unwrap_or("NULL")).collect::<Vec<_>>().join(", "),
                ),
                _ => None,
            });
            Ok(first.unwrap_or_default())
        }
        Err(error) => {
            let error = error.as_db_error().unwrap_or_else(|| panic!("{}: {error:?}", short(call)));
            Err((error.code().code().to_owned(), error.message().to_owned()))
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Functions whose comment says something else than this test.
fn undocumented(db: &Database) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, raises) in RAISES {
        let said = db.value(&format!(
            "SELECT string_agg(DISTINCT m[1], ' ' ORDER BY m[1]) FROM pg_proc p,
                    regexp_matches(obj_description(p.oid), '\\m[0-9][0-9A-Z]{{4}}\\M', 'g') m
              WHERE p.pronamespace = 'raw'::regnamespace AND p.proname = '{name}'"
        ));
        if said != raises.join(" ") {
            wrong.push(format!("the comment on {name} names {said:?}, this test {raises:?}"));
        }
    }
    wrong
}

#[test]
fn thousands_of_hostile_calls_do_nothing_but_what_is_written_down() {
    // To compile a statement takes longer than to run it.
    let server = Server::private("jit = off");
    let db =
        Database::on(&server, Options { counts: vec![("Invoice".to_owned(), 20)], ..Options::default() });
    for role in ["hostile", "other"] {
        server.sql("postgres", &format!("CREATE ROLE {role} LOGIN; GRANT qbo_raw_operator TO {role}"));
    }
    let first =
        rows(&mut db.client_as("other"), "SELECT raw.qb_backfill('invoices', '2025-07-01', '2025-07-03', 1)");
    assert_eq!(first.unwrap(), [["1"]]);
    assert_eq!(db.ended(1), "success");
    wait_until("the worker left", seconds(10), || !db.has_worker());
    // No run of ours is to begin: all places of workers are taken.
    let mut holder = db.client();
    let places = format!("SELECT pg_advisory_lock({}, n) FROM generate_series(1, 2) n", 0x7162_6f03);
    holder.batch_execute(&places).unwrap();
    db.exec(SCENE);

    let mut wrong = undocumented(&db);
    let (mut admin, mut operator, mut look) = (db.client(), db.client_as("hostile"), db.client());
    let before = rows(&mut look, OBJECTS).unwrap();
    let checkpointer = db.value(CHECKPOINTER);
    let runs = "SELECT count(*) FROM raw.qb_run";
    let (mut made, mut returned) = (0, 0);
    let began = Instant::now();
    // What is returned nonetheless is worth a look now and then.
    let show = std::env::var_os("QBO_RAW_CALLS_SHOW").is_some();
    for function in functions(&db) {
        let listed = RAISES.iter().chain(PARTS).find(|(name, _)| *name == function.name);
        let (_, raises) = listed.unwrap_or_else(|| panic!("{} is not listed", function.name));
        let may = "SELECT bool_or(has_function_privilege('hostile', p.oid, 'EXECUTE')) FROM pg_proc p
                    WHERE p.pronamespace = 'raw'::regnamespace AND p.proname = ";
        let mut client = &mut operator;
        if db.value(&format!("{may}'{}'", function.name)) == "f" {
            client = &mut admin;
        }
        // Credentials are to be the same afterwards; a procedure that commits has a transaction of its own.
        let undone = ["qb_connect", "qb_authorize_url", "qb_authorize"].contains(&function.name.as_str());
        let limit = if function.procedure { "250ms" } else { "20s" };
        client.batch_execute(&format!("SET statement_timeout = '{limit}'")).unwrap();
        for call in calls(&function) {
            made += 1;
            let queued = rows(&mut look, runs).unwrap();
            if undone {
                client.batch_execute("BEGIN").unwrap();
            }
            let came = outcome(client, &call);
            if undone {
                client.batch_execute("ROLLBACK").unwrap();
            }
            let shown = short(&call);
            match came {
                Ok(first) => {
                    returned += 1;
                    if show {
                        println!("{shown} = {}", short(&first).replace('\n', "\\n"));
                    }
                }
                Err((state, message)) => {
                    if !raises.contains(&state.as_str()) {
                        wrong.push(format!("{shown}: {state} {}", short(&message)));
                    }
                    if message.len() > 1_000 {
                        wrong.push(format!("{shown}: {} bytes of message", message.len()));
                    }
                    if rows(&mut look, runs).unwrap() != queued {
                        wrong.push(format!("{shown}: it was refused and queued a run"));
                    }
                }
            }
        }
    }
    println!("{made} calls, {returned} returned, {:?}", began.elapsed());
    assert!(wrong.is_empty(), "{} of {made}: {wrong:#?}", wrong.len());
    assert!(made >= 2_000, "{made}");
    assert!(returned * 2 < made, "most are hostile: {returned} of {made} returned");

    assert_eq!(rows(&mut look, OBJECTS).unwrap(), before);
    assert_eq!(db.value(CHECKPOINTER), checkpointer, "the server did not restart");
    db.exec("SELECT raw.qb_cancel(run_id) FROM raw.qb_run WHERE status IN ('queued', 'running')");
    drop(holder);
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'qbo_raw%'";
    wait_until("no worker is left", Duration::from_secs(10), || db.number(ours) == 0);
    for line in server.log().lines() {
        let bad = ["panicked", "PANIC", "FATAL", "TRAP", "cache lookup", "XX000", "was terminated by signal"];
        assert!(!bad.iter().any(|word| line.contains(word)), "{line}");
    }
}
