//! The simulator as a program.

use chrono::{NaiveDate, TimeDelta, Utc};
use qbo_sim::{FAULT_NAMES, IdOrder, Options, Rate, Sim, TokenMode};
use std::error::Error;
use std::time::Duration;

const HELP: &str = "\
qbo_sim: a simulator of QuickBooks Online

  --port N            port to listen on; default 8017, 0 = any
  --host ADDRESS      address to listen on; default 127.0.0.1
  --tls               https with a certificate authority of its own
  --seed N            the same seed gives the same company; default 42
  --invoices N        how many records of an entity there are; default 500
  --customers N       60
  --items N           40
  --count ENTITY=N    and 0 of every other, such as --count Bill=100
  --from DATE         the records were last changed between these days;
  --to DATE           default 2025-07-01 to 2025-09-30
  --realm ID          the company; default 4620816365002384750
  --rate intuit       enforces 500 requests a minute, 10 a second, 10 at once
  --rate M,S,O        enforces others
  --latency-ms N      added to every answer
  --tokens MODE       lazy, strict, grace or family; default lazy
  --token-ttl N       life of an access token in seconds; default 3600
  --refresh-token T   the first refresh token; default: one is made
  --id-order ORDER    how ORDERBY Id sorts: number or text; default number
  --clock-skew N      seconds that its clock is ahead; default 0

While it runs (say with curl -X POST 'http://127.0.0.1:8017/sim/fault?name=429:5&when=next&times=1'):
  GET  /sim/status /sim/requests /sim/tokens /sim/faults
       /sim/ids?entity=E /sim/record?entity=E&id=N
  POST /sim/fault?name=NAME&when=WHEN&times=N    /sim/clear
       WHEN: always nth:3 from:3 next next:2 token statement:TEXT
             rows-over:100 record:ENTITY:ID
       /sim/change?entity=Invoice&fraction=0.01
       /sim/update /sim/delete /sim/deactivate /sim/insert /sim/patch (body: JSON)
             ?entity=E&id=N[&before=REQUEST]
       /sim/expire /sim/rotate /sim/revoke /sim/down[?down=false] /sim/latency?ms=N
";

fn main() -> Result<(), Box<dyn Error>> {
    let Some(options) = read(std::env::args().skip(1))? else {
        print!("{HELP}\nFaults (NAME):\n");
        for (name, what) in FAULT_NAMES {
            println!("  {name}\n      {what}");
        }
        return Ok(());
    };
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
        println!("  {entity:<14} {number} records");
    }
    println!("Ctrl-C ends it.");
    loop {
        std::thread::park();
    }
}

/// The options of a command line. None: help is asked for.
fn read(mut words: impl Iterator<Item = String>) -> Result<Option<Options>, Box<dyn Error>> {
    let mut options = Options { port: 8017, ..Options::default() };
    while let Some(word) = words.next() {
        if word == "--help" || word == "-h" {
            return Ok(None);
        }
        if word == "--tls" {
            options.tls = true;
            continue;
        }
        let value =
            words.next().ok_or_else(|| format!("{word} needs a value, or is not known; see --help"))?;
        let wrong = |_| format!("{word} cannot be \"{value}\"; see --help");
        match word.as_str() {
            "--port" => options.port = value.parse().map_err(wrong)?,
            "--host" => options.host = value,
            "--seed" => options.seed = value.parse().map_err(wrong)?,
            "--invoices" => count(&mut options, "Invoice", value.parse().map_err(wrong)?),
            "--customers" => count(&mut options, "Customer", value.parse().map_err(wrong)?),
            "--items" => count(&mut options, "Item", value.parse().map_err(wrong)?),
            "--count" => {
                let (entity, number) = value.split_once('=').ok_or("--count wants ENTITY=N")?;
                count(&mut options, entity, number.parse().map_err(wrong)?);
            }
            "--from" => options.from = day(&value)?,
            "--to" => options.to = day(&value)?,
            "--realm" => options.realm = value,
            "--rate" => options.rate = Some(rate(&value)?),
            "--latency-ms" => options.latency = Duration::from_millis(value.parse().map_err(wrong)?),
            "--token-ttl" => options.access_token_ttl = Duration::from_secs(value.parse().map_err(wrong)?),
            "--refresh-token" => options.refresh_token = Some(value),
            "--clock-skew" => options.clock_skew = TimeDelta::seconds(value.parse().map_err(wrong)?),
            "--id-order" => {
                options.id_order = match value.as_str() {
                    "number" => IdOrder::Number,
                    "text" => IdOrder::Text,
                    _ => return Err("--id-order is number or text".into()),
                }
            }
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
    Ok(Some(options))
}

fn count(options: &mut Options, entity: &str, number: u64) {
    options.counts.retain(|(name, _)| !name.eq_ignore_ascii_case(entity));
    options.counts.push((entity.to_owned(), number));
}

fn rate(text: &str) -> Result<Rate, Box<dyn Error>> {
    if text == "intuit" {
        return Ok(Rate::intuit());
    }
    let parts: Vec<usize> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
    match parts.as_slice() {
        [per_minute, per_second, at_once] => {
            Ok(Rate { per_minute: *per_minute, per_second: *per_second, at_once: *at_once })
        }
        _ => Err("--rate is intuit, or three numbers: a minute, a second, at once".into()),
    }
}

fn day(text: &str) -> Result<chrono::DateTime<Utc>, Box<dyn Error>> {
    Ok(text.parse::<NaiveDate>()?.and_hms_opt(0, 0, 0).ok_or("no such time")?.and_utc())
}
