//! The simulator against the rules of QuickBooks Online, as Intuit documents them and as real answers were recorded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use qbo_sim::{Action, Fault, Options, Rate, Sim, TokenMode, When};
use serde_json::Value;
use std::time::{Duration, Instant};
use ureq::Agent;

struct Client {
    sim: Sim,
    agent: Agent,
    token: String,
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Code of a fault in JSON, in either spelling.
    fn code(&self) -> String {
        let json = self.json();
        let upper = json["Fault"]["Error"][0]["code"].as_str().map(str::to_owned);
        upper.or_else(|| json["fault"]["error"][0]["code"].as_str().map(str::to_owned)).unwrap_or_default()
    }
}

fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build()
        .new_agent()
}

impl Client {
    fn new(options: Options) -> Client {
        let sim = Sim::start(options).unwrap();
        let mut client = Client { sim, agent: agent(), token: String::new() };
        client.token = client.redeem(&client.sim.credentials().3).unwrap().0;
        client
    }

    fn with(counts: &[(&str, u64)]) -> Client {
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Client::new(Options { counts, ..Options::default() })
    }

    /// Access and refresh token, or the error.
    fn redeem(&self, refresh: &str) -> Result<(String, String), String> {
        let (_, id, secret, _) = self.sim.credentials();
        let basic = base64(&format!("{id}:{secret}"));
        let mut answer = self
            .agent
            .post(format!("{}/oauth2/v1/tokens/bearer", self.sim.url()))
            .header("Authorization", format!("Basic {basic}"))
            .send_form([("grant_type", "refresh_token"), ("refresh_token", refresh)])
            .unwrap();
        let json: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        match json["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok((
                json["access_token"].as_str().unwrap().into(),
                json["refresh_token"].as_str().unwrap().into(),
            )),
        }
    }

    fn query(&self, statement: &str) -> Answer {
        let url = format!("{}/v3/company/{}/query?minorversion=75", self.sim.url(), self.sim.credentials().0);
        let request = self.agent.post(url).header("Authorization", format!("Bearer {}", self.token));
        answer(request.header("Content-Type", "application/text").send(statement).unwrap())
    }

    fn rows(&self, entity: &str, statement: &str) -> Vec<Value> {
        let answer = self.query(statement);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["QueryResponse"][entity].as_array().cloned().unwrap_or_default()
    }

    fn count(&self, statement: &str) -> u64 {
        self.query(statement).json()["QueryResponse"]["totalCount"].as_u64().unwrap()
    }
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let headers = response
        .headers()
        .iter()
        .map(|(k, v)| (k.as_str().to_owned(), v.to_str().unwrap().to_owned()))
        .collect();
    Answer {
        status: response.status().as_u16(),
        headers,
        body: response.body_mut().read_to_string().unwrap(),
    }
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn a_page_looks_like_a_recorded_one() {
    let client = Client::with(&[("Customer", 30), ("Invoice", 30)]);
    let answer = client.query("SELECT * FROM Customer STARTPOSITION 1 MAXRESULTS 5");
    let json = answer.json();
    assert_eq!(json["QueryResponse"]["startPosition"], 1);
    assert_eq!(json["QueryResponse"]["maxResults"], 5, "rows of this answer");
    assert!(json["QueryResponse"].get("totalCount").is_none(), "customers come without it");
    assert!(
        json["time"].as_str().unwrap().ends_with("-07:00")
            || json["time"].as_str().unwrap().ends_with("-08:00")
    );
    assert_eq!(answer.header("content-type"), Some("application/json;charset=utf-8"));
    assert!(answer.header("intuit_tid").is_some());
    let record = &json["QueryResponse"]["Customer"][0];
    assert_eq!((&record["domain"], &record["sparse"]), (&Value::from("QBO"), &Value::from(false)));
    assert!(record["Id"].is_string() && record["SyncToken"].is_string());
    assert!(
        client.query("SELECT * FROM Invoice MAXRESULTS 5").json()["QueryResponse"]
            .get("totalCount")
            .is_some()
    );
}

#[test]
fn times_are_pacific_to_the_second_and_money_has_two_decimals() {
    let client = Client::with(&[("Invoice", 40)]);
    let raw = client.query("SELECT * FROM Invoice MAXRESULTS 40").body;
    for record in client.rows("Invoice", "SELECT * FROM Invoice MAXRESULTS 40") {
        let time = record["MetaData"]["LastUpdatedTime"].as_str().unwrap();
        assert!(time.len() == 25 && (time.ends_with("-07:00") || time.ends_with("-08:00")), "{time}");
    }
    assert!(
        raw.contains("\"TotalTax\":")
            && raw.split("\"UnitPrice\":").nth(1).unwrap().split(',').next().unwrap().contains('.')
    );
    let weight = raw.len() / 40;
    assert!((2_000..6_000).contains(&weight), "{weight} bytes an invoice");
}

#[test]
fn positions_count_from_one_and_pages_end_empty() {
    let client = Client::with(&[("Invoice", 25)]);
    let all: Vec<Value> =
        client.rows("Invoice", "SELECT * FROM Invoice ORDERBY MetaData.LastUpdatedTime ASC, Id ASC");
    assert_eq!(all.len(), 25);
    let page = client.rows(
        "Invoice",
        "select * from invoice order by Metadata.LastUpdatedTime asc, Id asc maxresults 10 startposition 11",
    );
    assert_eq!(page, all[10..20]);
    let empty = client.query("SELECT * FROM Invoice STARTPOSITION 26").json();
    assert_eq!(empty["QueryResponse"], serde_json::json!({}), "no list and no counters");
    for (statement, text) in [
        ("SELECT * FROM Invoice STARTPOSITION 0", "value 0 is too small. Min allowed value is 1"),
        ("SELECT * FROM Invoice MAXRESULTS 1500", "value 1500 is too large. Max allowed value is 1000."),
        ("SELECT * FROM Custmoer", "invalid context declaration: Custmoer"),
        ("SELECT * FROM Invoice WHERE Line.Amount > '1'", "property 'Line.Amount' not found"),
        ("SELECT * FROM Invoice WHERE Id > '5'", "not supported"),
        ("SELECT * FROM Invoice WHERE Active = true", "property 'Active' not found"),
    ] {
        let answer = client.query(statement);
        assert_eq!((answer.status, answer.code().as_str()), (400, "4001"), "{statement}");
        assert!(answer.body.contains(text), "{statement}: {}", answer.body);
    }
    for statement in
        ["SELECT * FROM Invoice WHERE a = 'b' OR c = 'd'", "SELECT % FROM Invoice", "DELETE FROM Invoice"]
    {
        assert_eq!(client.query(statement).code(), "4000", "{statement}");
    }
}

#[test]
fn conditions_find_what_they_say() {
    let client = Client::with(&[("Customer", 80), ("Invoice", 80)]);
    let all = client.rows("Invoice", "SELECT * FROM Invoice MAXRESULTS 1000");
    let middle = "2025-08-15T00:00:00Z";
    let before =
        client.count(&format!("SELECT COUNT(*) FROM Invoice WHERE MetaData.LastUpdatedTime < '{middle}'"));
    let from =
        client.count(&format!("SELECT COUNT(*) FROM Invoice WHERE MetaData.LastUpdatedTime >= '{middle}'"));
    assert_eq!(before + from, 80);
    let same = client
        .count("SELECT COUNT(*) FROM Invoice WHERE MetaData.LastUpdatedTime >= '2025-08-14T17:00:00-07:00'");
    assert_eq!(from, same, "the same moment with another offset");
    let one = all[7]["Id"].as_str().unwrap();
    assert_eq!(
        client.rows("Invoice", &format!("SELECT * FROM Invoice WHERE Id IN ('{one}', 'none')")).len(),
        1
    );
    let customers = client.rows("Customer", "SELECT * FROM Customer MAXRESULTS 1000");
    let quoted = customers.iter().find(|c| c["DisplayName"].as_str().unwrap().contains('\'')).unwrap();
    let name = quoted["DisplayName"].as_str().unwrap().replace('\'', "\\'");
    let found = client.rows("Customer", &format!("SELECT * FROM Customer WHERE DisplayName = '{name}'"));
    assert_eq!(found[0]["Id"], quoted["Id"], "a quote is escaped by a backslash");
    let like =
        client.rows("Customer", "SELECT * FROM Customer WHERE DisplayName LIKE 'amy%' MAXRESULTS 1000");
    assert!(
        !like.is_empty() && like.iter().all(|c| c["DisplayName"].as_str().unwrap().starts_with("Amy")),
        "without regard to case"
    );
}

#[test]
fn lists_hide_inactive_records_unless_asked() {
    let client = Client::with(&[("Customer", 100)]);
    let active = client.count("SELECT COUNT(*) FROM Customer");
    let all = client.count("SELECT COUNT(*) FROM Customer WHERE Active IN (true, false)");
    assert_eq!(all, 100);
    assert!(active < all);
    let inactive = client.rows("Customer", "SELECT * FROM Customer WHERE Active = false MAXRESULTS 1000");
    assert_eq!(inactive.len() as u64, all - active);
    assert!(inactive.iter().all(|c| c["DisplayName"].as_str().unwrap().ends_with(" (deleted)")));
}

#[test]
fn without_orderby_transactions_come_newest_first_and_lists_by_name() {
    let client = Client::with(&[("Invoice", 30), ("Item", 30)]);
    let times: Vec<String> = client
        .rows("Invoice", "SELECT * FROM Invoice")
        .iter()
        .map(|r| r["MetaData"]["LastUpdatedTime"].to_string())
        .collect();
    assert!(times.windows(2).all(|pair| pair[0] >= pair[1]), "{times:?}");
    let names: Vec<String> = client
        .rows("Item", "SELECT * FROM Item")
        .iter()
        .map(|r| r["Name"].as_str().unwrap().to_lowercase())
        .collect();
    assert!(names.windows(2).all(|pair| pair[0] <= pair[1]), "{names:?}");
}

#[test]
fn the_same_seed_gives_the_same_company_of_any_size() {
    let (small, large) = (Client::with(&[("Invoice", 10)]), Client::with(&[("Invoice", 50_000)]));
    for id in small.sim.ids("Invoice") {
        assert_eq!(small.sim.record("Invoice", &id), large.sim.record("Invoice", &id));
    }
    let began = Instant::now();
    let statement = "SELECT * FROM Invoice WHERE MetaData.LastUpdatedTime >= '2025-07-01T00:00:00Z' ORDERBY MetaData.LastUpdatedTime ASC, Id ASC STARTPOSITION 40000 MAXRESULTS 100";
    assert_eq!(large.rows("Invoice", statement).len(), 100);
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_change_moves_a_record_and_a_deletion_removes_it() {
    let client = Client::with(&[("Invoice", 10)]);
    let id = client.sim.ids("Invoice")[0].clone();
    let before = client.sim.record("Invoice", &id).unwrap();
    client
        .sim
        .act_before(client.sim.request_count() + 1, Action::Update("Invoice".into(), id.parse().unwrap()));
    let rows = client.rows("Invoice", "SELECT * FROM Invoice ORDERBY MetaData.LastUpdatedTime DESC");
    assert_eq!((rows[0]["Id"].as_str(), rows[0]["SyncToken"].as_str()), (Some(id.as_str()), Some("1")));
    assert_eq!(client.sim.history()[0].json, before);
    client.sim.act(Action::Delete("Invoice".into(), id.parse().unwrap()));
    assert_eq!(client.count("SELECT COUNT(*) FROM Invoice"), 9);
}

#[test]
fn a_token_that_ended_is_refused_by_the_gateway_which_repeats_it() {
    let client = Client::with(&[("Invoice", 1)]);
    client.sim.expire_access_tokens();
    let answer = client.query("SELECT * FROM Invoice");
    assert_eq!((answer.status, answer.code().as_str()), (401, "3200"));
    assert!(answer.body.contains(&client.token), "as the real one does");
    assert!(answer.json()["queryResponse"].is_null());
    assert!(answer.header("www-authenticate").unwrap().contains("invalid_token"));
}

#[test]
fn refresh_tokens_rotate_in_four_ways() {
    let modes = [
        // Mode, whether the value changes, whether the old one is still good, whether the newest is after that.
        (TokenMode::Lazy, false, true, true),
        (TokenMode::Strict, true, false, true),
        (TokenMode::Grace, true, true, true),
        (TokenMode::Family, true, false, false),
    ];
    for (mode, changes, old_good, newest_good) in modes {
        let sim = Sim::start(Options { tokens: mode, ..Options::default() }).unwrap();
        let client = Client { sim, agent: agent(), token: String::new() };
        let first = client.sim.credentials().3;
        let (_, second) = client.redeem(&first).unwrap();
        assert_eq!(first != second, changes, "{mode:?}");
        assert_eq!(client.redeem(&first).is_ok(), old_good, "{mode:?}");
        assert_eq!(client.redeem(&client.sim.credentials().3).is_ok(), newest_good, "{mode:?}");
    }
    let client = Client::with(&[]);
    assert_eq!(client.redeem("never issued").unwrap_err(), "invalid_grant");
    client.sim.rotate_next();
    let old = client.sim.credentials().3;
    assert_ne!(client.redeem(&old).unwrap().1, old);
}

#[test]
fn the_consent_page_gives_a_code_that_works_once() {
    let client = Client::with(&[]);
    let (realm, id, secret, _) = client.sim.credentials();
    let url = format!(
        "{}/connect/oauth2?client_id={id}&response_type=code&scope=com.intuit.quickbooks.accounting&redirect_uri=http://localhost/cb&state=xyz",
        client.sim.url()
    );
    let answer = answer(client.agent.get(url).call().unwrap());
    let location = answer.header("location").unwrap();
    assert!(location.contains("state=xyz") && location.contains(&format!("realmId={realm}")), "{location}");
    let code = location.split("code=").nth(1).unwrap().split('&').next().unwrap();
    for status in [200, 400] {
        let exchange = client
            .agent
            .post(format!("{}/oauth2/v1/tokens/bearer", client.sim.url()))
            .header("Authorization", format!("Basic {}", base64(&format!("{id}:{secret}"))))
            .send_form([
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", "http://localhost/cb"),
            ])
            .unwrap();
        assert_eq!(exchange.status().as_u16(), status);
    }
}

#[test]
fn limits_are_enforced_with_429_in_xml() {
    let client = Client::new(Options {
        rate: Some(Rate { per_minute: 8, per_second: 5, at_once: 10 }),
        ..Options::default()
    });
    let statuses: Vec<u16> = (0..6).map(|_| client.query("SELECT COUNT(*) FROM Invoice").status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
    std::thread::sleep(Duration::from_millis(1_050));
    let answers: Vec<Answer> = (0..4).map(|_| client.query("SELECT COUNT(*) FROM Invoice")).collect();
    assert_eq!(answers.iter().map(|a| a.status).collect::<Vec<_>>(), [200, 200, 200, 429]);
    assert!(answers[3].body.contains("<Error code=\"3001\">") && answers[3].header("retry-after").is_none());
}

#[test]
fn the_wrong_realm_and_the_wrong_client_are_refused() {
    let client = Client::with(&[("Invoice", 1)]);
    let url = format!("{}/v3/company/1/query?query=SELECT%20*%20FROM%20Invoice", client.sim.url());
    let wrong = answer(
        client.agent.get(url).header("Authorization", format!("Bearer {}", client.token)).call().unwrap(),
    );
    assert_eq!((wrong.status, wrong.code().as_str()), (403, "3100"));
    let refused = client
        .agent
        .post(format!("{}/oauth2/v1/tokens/bearer", client.sim.url()))
        .header("Authorization", format!("Basic {}", base64("someone:else")))
        .send_form([("grant_type", "refresh_token")])
        .unwrap();
    assert_eq!(refused.status().as_u16(), 401);
}

#[test]
fn faults_strike_the_request_they_are_for_as_often_as_they_should() {
    let client = Client::with(&[("Invoice", 5)]);
    let n = client.sim.request_count();
    client.sim.fault_times(When::Nth(n + 2), Fault::named("503").unwrap(), 1);
    client.sim.fault_times(When::Statement("Item".into()), Fault::named("4002").unwrap(), 2);
    let ask = |statement: &str| client.query(statement).status;
    assert_eq!(
        [
            ask("SELECT COUNT(*) FROM Invoice"),
            ask("SELECT COUNT(*) FROM Invoice"),
            ask("SELECT COUNT(*) FROM Invoice")
        ],
        [200, 503, 200]
    );
    assert_eq!(
        [
            ask("SELECT COUNT(*) FROM Item"),
            ask("SELECT COUNT(*) FROM Item"),
            ask("SELECT COUNT(*) FROM Item")
        ],
        [400, 400, 200]
    );
    for fault in [Fault::Reset, Fault::ResetInBody(50), Fault::Truncate(50), Fault::BadGzip] {
        client.sim.fault_times(When::Always, fault.clone(), 1);
        let url = format!("{}/v3/company/{}/query", client.sim.url(), client.sim.credentials().0);
        let got = agent()
            .post(url)
            .header("Authorization", format!("Bearer {}", client.token))
            .send("SELECT * FROM Invoice");
        let whole = got.and_then(|mut response| response.body_mut().read_to_string());
        assert!(whole.is_err(), "{fault:?}: {whole:?}");
    }
    let log = client.sim.requests();
    assert!(log.iter().any(|request| !request.whole && request.faulted));
}

#[test]
fn over_tls_and_compressed() {
    let sim = Sim::start(Options { tls: true, ..Options::default() }).unwrap();
    let pem = std::fs::read(sim.ca_file().unwrap()).unwrap();
    let root = ureq::tls::Certificate::from_pem(&pem).unwrap();
    let tls =
        ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::new_with_certs(&[root])).build();
    let agent = Agent::config_builder().tls_config(tls).http_status_as_error(false).build().new_agent();
    let mut client = Client { sim, agent, token: String::new() };
    client.token = client.redeem(&client.sim.credentials().3).unwrap().0;
    assert_eq!(client.rows("Invoice", "SELECT * FROM Invoice MAXRESULTS 50").len(), 50);
    let stranger = agent_error(client.sim.url());
    assert!(stranger.contains("certificate"), "{stranger}");
}

fn agent_error(url: &str) -> String {
    agent().get(url).call().unwrap_err().to_string()
}
