//! The README is true: its SQL blocks are run by psql, one after the other, and what they show is compared with the block
//! that follows each. They are the life of a company from its consent to the purge of its reports.

use qbo_e2e::{Database, Server, program, seconds, wait_until};
use qbo_sim::{Fault, Options, When};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");

/// A block of SQL, and what the README says that it shows.
struct Block {
    sql: String,
    shows: Option<String>,
    /// Lines of the README that `shows` takes.
    place: (usize, usize),
}

fn blocks(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let end = |from: usize| (from..lines.len()).find(|line| lines[*line] == "```").unwrap();
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at] != "```sql" {
            at += 1;
            continue;
        }
        let close = end(at + 1);
        let sql = lines[at + 1..close].join("\n");
        at = close + 1;
        let mut block = Block { sql, shows: None, place: (0, 0) };
        if lines.get(at) == Some(&"```") {
            let close = end(at + 1);
            block.shows = Some(lines[at + 1..close].join("\n"));
            block.place = (at + 1, close);
            at = close + 1;
        }
        found.push(block);
    }
    found
}

/// What differs from run to run is left out: times, rates, secrets, how often a wait looked, and the width of columns.
fn essence(text: &str) -> Vec<String> {
    let mut kept = Vec::new();
    for line in text.lines() {
        // How far a run is when somebody looks, and what belongs to the machine.
        let progress = line.contains(" rows, ")
            || line.ends_with(": queued")
            || (line.contains("/14 ") && line.contains("| "));
        let machine =
            ["server ", "worker slots ", "query "].iter().any(|row| line.trim_start().starts_with(row));
        let rule = !line.is_empty() && line.chars().all(|c| "-+ ".contains(c));
        if progress || machine || rule || line.trim().is_empty() || line.starts_with('(') {
            continue;
        }
        let mut words: Vec<String> = line.split_whitespace().map(word).collect();
        // A clock is told in whole seconds, and the next one may begin between the two that are compared.
        if words[0] == "clock"
            && let Some(unit) = words.windows(2).position(|pair| pair == ["s", "ahead"])
        {
            words[unit - 1] = "#".to_owned();
        }
        kept.push(words.join(" "));
    }
    kept
}

fn word(word: &str) -> String {
    if word.contains("state=") {
        return "URL".to_owned();
    }
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let bare = word.trim_end_matches(',');
    let date = bare.len() == 10 && bare.as_bytes()[4] == b'-' && !bare.starts_with("2025");
    let decimal = digits > 0 && bare.contains('.') && bare.chars().all(|c| c.is_ascii_digit() || c == '.');
    let bar = word.chars().any(|c| ('▉'..='▏').contains(&c) || c == '░');
    if date || decimal || bar { "#".to_owned() } else { word.to_owned() }
}

struct Session<'a> {
    db: &'a Database<'a>,
    /// The address that the browser was sent back to.
    callback: String,
}

impl Session<'_> {
    /// What psql shows for a block, errors included, in their order.
    fn run(&mut self, block: &Block) -> String {
        let (_, id, secret, _) = self.db.sim.credentials();
        let sql =
            block.sql.replace("https://books.example/callback?code=…&state=…&realmId=…", &self.callback);
        let file = std::env::temp_dir().join(format!("qbo_raw_readme_{}.sql", std::process::id()));
        std::fs::write(&file, &sql).unwrap();
        let mut psql = Command::new("bash")
            .args(["-c", "exec \"$0\" \"$@\" 2>&1"])
            .arg(program("psql"))
            .args(["-X", "-d", &self.db.name, "-f"])
            .arg(&file)
            .env("PGHOST", self.db.server.socket())
            .env("PGPORT", "5432")
            .env("PGUSER", "postgres")
            .env("PGCLIENTENCODING", "UTF8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // What a person would type at the prompts. Where there is none, psql may have ended by now.
        let _ = psql.stdin.take().unwrap().write_all(format!("{id}\n{secret}\n").as_bytes());
        let output = psql.wait_with_output().unwrap();
        std::fs::remove_file(&file).unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        let name = format!("psql:{}:", file.display());
        let lines = shown.lines().map(|line| match line.strip_prefix(&name) {
            // Where the statement stood in the file.
            Some(rest) => rest.split_once(": ").map_or(rest, |(_, message)| message).to_owned(),
            None => line.replace(self.db.sim.url(), "https://appcenter.intuit.com"),
        });
        lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    /// What happens in the world before a block.
    fn before(&self, block: &Block) {
        let sim = &self.db.sim;
        if block.sql.starts_with("SELECT raw.qb_backfill('customers'") {
            sim.set_latency(Duration::from_millis(150));
            for day in ["2025-07-08", "2025-07-22", "2025-08-05", "2025-08-26"] {
                let when =
                    When::Statement(format!("FROM Customer WHERE MetaData.LastUpdatedTime >= '{day}T"));
                sim.fault(when, Fault::named("503").unwrap());
            }
            let when =
                When::Statement("FROM Customer WHERE MetaData.LastUpdatedTime >= '2025-09-16T".to_owned());
            sim.fault(when, Fault::named("bad-json").unwrap());
            // The last window, so that there is a run to look at.
            let when =
                When::Statement("FROM Customer WHERE MetaData.LastUpdatedTime >= '2025-09-23T".to_owned());
            sim.fault_times(when, Fault::Stall(seconds(60)), 1);
        }
        if block.sql.contains("qb_progress") {
            let over = "SELECT windows_done + windows_failed FROM raw.qb_run ORDER BY run_id DESC LIMIT 1";
            wait_until("all windows but one are over", seconds(30), || self.db.number(over) == 13);
        }
        if block.sql.contains("qb_retry_failed('customers')") {
            sim.clear_faults();
            sim.set_latency(Duration::ZERO);
        }
    }

    fn after(&mut self, block: &Block, shown: &str) {
        assert!(!shown.contains("syntax error"), "{}\n{shown}", block.sql);
        if block.sql.contains("qb_progress") {
            self.db.sim.release();
            assert!(shown.contains("| customers |"), "{shown}");
            assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        }
        if block.shows.is_none() {
            assert!(!shown.contains("ERROR"), "{}\n{shown}", block.sql);
        }
        if block.sql.contains("qb_authorize_url(") {
            let url = shown.lines().find(|line| line.contains("state=")).unwrap().trim();
            let url = url.replace("https://appcenter.intuit.com", self.db.sim.url());
            self.callback = qbo_e2e::browse(&url);
        }
    }
}

#[test]
fn every_sql_block_of_the_readme_does_what_it_shows() {
    let cron = super::cron::has_cron();
    let server = if cron {
        Server::private(
            "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'books'\ncron.use_background_workers = on\nmax_worker_processes = 20",
        )
    } else {
        Server::private("max_worker_processes = 20")
    };
    let counts = [("Invoice", 3_000), ("Customer", 400), ("Item", 150)];
    let counts = counts.map(|(entity, count)| (entity.to_owned(), count)).to_vec();
    let db = Database::named(&server, "books", Options { counts, ..Options::default() });
    // What fails early is over long before the answer that is spoilt, however busy the machine is.
    db.set("qbo_raw.max_retries", "1");
    db.exec("DROP EXTENSION qbo_raw");
    if cron {
        db.exec("CREATE EXTENSION pg_cron");
    }
    let text = std::fs::read_to_string(README).unwrap();
    let blocks = blocks(&text);
    assert!(blocks.len() > 20);
    let mut session = Session { db: &db, callback: String::new() };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut wrong = Vec::new();
    let mut written: Vec<((usize, usize), String)> = Vec::new();
    for block in &blocks {
        if !cron && (block.sql.contains("cron.") || block.sql.contains("qb_schedule_once")) {
            continue;
        }
        session.before(block);
        let shown = session.run(block);
        session.after(block, &shown);
        if let Some(wanted) = &block.shows {
            if essence(wanted) != essence(&shown) {
                wrong.push(format!("{}\n{shown}\n", block.sql));
            }
            written.push((block.place, shown));
        }
    }
    if std::env::var("QBO_RAW_WRITE_GOLDEN").is_ok() {
        for ((from, to), shown) in written.into_iter().rev() {
            lines.splice(from..to, shown.lines().map(str::to_owned));
        }
        std::fs::write(README, lines.join("\n") + "\n").unwrap();
        return;
    }
    assert!(
        wrong.is_empty(),
        "set QBO_RAW_WRITE_GOLDEN to write it anew, and read what changed\n{}",
        wrong.join("\n")
    );
}
