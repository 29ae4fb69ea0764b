//! The simulator as a program.

use chrono::{NaiveDate, Utc};
use qbo_sim::{Options, Rate, Sim, TokenMode};
use std::time::Duration;

const HELP: &str = "\
qbo_sim: a simulator of QuickBooks Online

  --port N            port to listen on; default 8017, 0 = any
  --host ADDRESS      address to listen on; default 127.0.0.1
  --tls               https with a certificate authority of its own
  --seed N            the same seed gives the same company; default 42
  --invoices N        records of an entity; so for every entity by
  --customers N       --count ENTITY=N, such as --count Bill=100
  --items N
  --from DATE         the records were last changed between these days;
  --to DATE           default 2025-07-01 to 2025-09-30
  --rate intuit       enforces 500 requests a minute, 10 a second, 10 at once
  --latency-ms N      added to every answer
  --tokens MODE       lazy, strict, grace or family; default lazy
  --token-ttl N       life of an access token in seconds; default 3600
  --refresh-token T   the first refresh token; default: one is made

While it runs (say with curl):
  GET  /sim/status, /sim/requests
  POST /sim/fault?name=NAME&when=WHEN&times=N
       NAME 401 403 429 429:5 500 503 503:5 504 200-fault 4002 10000 10100 html
            empty bad-json reset reset-in-body truncate redirect:URL gzip-bomb
            bad-gzip lose-answer stall:30
       WHEN nth:3 from:3 always statement:TEXT token
  POST /sim/clear, /sim/expire, /sim/rotate, /sim/change?entity=Invoice&fraction=0.01
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = Options { port: 8017, ..Options::default() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--help" || word == "-h" {
            print!("{HELP}");
            return Ok(());
        }
        if word == "--tls" {
            options.tls = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value; see --help"))?;
        match word.as_str() {
            "--port" => options.port = value.parse()?,
            "--host" => options.host = value,
            "--seed" => options.seed = value.parse()?,
            "--invoices" => count(&mut options, "Invoice", value.parse()?),
            "--customers" => count(&mut options, "Customer", value.parse()?),
            "--items" => count(&mut options, "Item", value.parse()?),
            "--count" => {
                let (entity, number) = value.split_once('=').ok_or("--count wants ENTITY=N")?;
                count(&mut options, entity, number.parse()?);
            }
            "--from" => options.from = day(&value)?,
            "--to" => options.to = day(&value)?,
            "--rate" if value == "intuit" => options.rate = Some(Rate::intuit()),
            "--latency-ms" => options.latency = Duration::from_millis(value.parse()?),
            "--token-ttl" => options.access_token_ttl = Duration::from_secs(value.parse()?),
            "--refresh-token" => options.refresh_token = Some(value),
            "--tokens" => {
                options.tokens = match value.as_str() {
                    "lazy" => TokenMode::Lazy,
                    "strict" => TokenMode::Strict,
                    "grace" => TokenMode::Grace,
                    "family" => TokenMode::Family,
                    _ => return Err("--tokens is lazy, strict, grace or family".into()),
                }
            }
            _ => return Err(format!("{word} is not known; see --help").into()),
        }
    }
    let counts = options.counts.clone();
    let sim = Sim::start(options)?;
    let (realm, id, secret, token) = sim.credentials();
    println!("QuickBooks Online simulator at {}", sim.url());
    println!(
        "  realm id       {realm}\n  client id      {id}\n  client secret  {secret}\n  refresh token  {token}"
    );
    if let Some(path) = sim.ca_file() {
        println!("  CA file        {}", path.display());
    }
    for (entity, number) in counts {
        println!("  {number} {entity} records");
    }
    println!("Ctrl-C ends it.");
    loop {
        std::thread::park();
    }
}

fn count(options: &mut Options, entity: &str, number: u64) {
    options.counts.retain(|(name, _)| name != entity);
    options.counts.push((entity.to_owned(), number));
}

fn day(text: &str) -> Result<chrono::DateTime<Utc>, Box<dyn std::error::Error>> {
    Ok(text.parse::<NaiveDate>()?.and_hms_opt(0, 0, 0).ok_or("no such time")?.and_utc())
}
