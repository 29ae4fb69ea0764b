//! A client of the simulator: through ureq, and byte by byte.

use qbo_sim::{Options, Sim};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// A simulator with a client that has a token.
pub struct Client {
    pub sim: Sim,
    pub agent: Agent,
    pub token: String,
}

impl Deref for Client {
    type Target = Sim;
    fn deref(&self) -> &Sim {
        &self.sim
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The rows of a page.
    pub fn rows(&self, key: &str) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.body);
        let json = self.json();
        json["QueryResponse"].get(key).map_or(Vec::new(), |rows| rows.as_array().unwrap().clone())
    }

    pub fn ids(&self, key: &str) -> Vec<String> {
        self.rows(key).iter().map(|row| row["Id"].as_str().unwrap().to_owned()).collect()
    }

    /// Code and detail of the fault.
    pub fn fault(&self) -> (String, String) {
        let error = &self.json()["Fault"]["Error"][0];
        (error["code"].as_str().unwrap().to_owned(), error["Detail"].as_str().unwrap().to_owned())
    }
}

pub fn agent(ca: Option<&std::path::Path>) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(20)));
    if let Some(path) = ca {
        let pem = std::fs::read(path).unwrap();
        let root = Certificate::from_pem(&pem).unwrap().to_owned();
        let roots = RootCerts::new_with_certs(&[root]);
        config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    config.build().new_agent()
}

/// A small company of some entities.
pub fn counts(counts: &[(&str, u64)]) -> Options {
    Options {
        counts: counts.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
        ..Options::default()
    }
}

impl Client {
    pub fn new(options: Options) -> Client {
        let sim = Sim::start(options).unwrap();
        let agent = agent(sim.ca_file());
        let mut client = Client { sim, agent, token: String::new() };
        let answer = client.refresh(&client.refresh_token());
        client.token = answer.json()["access_token"].as_str().unwrap().to_owned();
        client
    }

    pub fn company(counts: &[(&str, u64)]) -> Client {
        Client::new(self::counts(counts))
    }

    pub fn path(&self, rest: &str) -> String {
        format!("{}/v3/company/{}/{rest}", self.url(), self.realm())
    }

    pub fn query(&self, statement: &str) -> Answer {
        self.try_query(statement).unwrap()
    }

    pub fn try_query(&self, statement: &str) -> Result<Answer, ureq::Error> {
        let answer = self
            .agent
            .post(self.path("query?minorversion=75"))
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Accept", "application/json")
            .content_type("application/text")
            .send(statement)?;
        read(answer)
    }

    pub fn count(&self, rest: &str) -> u64 {
        let answer = self.query(&format!("SELECT COUNT(*) FROM {rest}"));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["QueryResponse"]["totalCount"].as_u64().unwrap()
    }

    pub fn get(&self, url: &str) -> Answer {
        let request = self.agent.get(url).header("Authorization", format!("Bearer {}", self.token));
        read(request.header("Accept", "application/json").call().unwrap()).unwrap()
    }

    pub fn control(&self, rest: &str) -> Answer {
        read(self.agent.post(format!("{}/sim/{rest}", self.url())).send_empty().unwrap()).unwrap()
    }

    pub fn refresh(&self, token: &str) -> Answer {
        self.token_call(&self.client_secret(), &[("grant_type", "refresh_token"), ("refresh_token", token)])
    }

    pub fn token_call(&self, secret: &str, form: &[(&str, &str)]) -> Answer {
        let basic = base64(&format!("{}:{secret}", self.client_id()));
        let request = self.agent.post(format!("{}/oauth2/v1/tokens/bearer", self.url()));
        let request = request.header("Authorization", format!("Basic {basic}"));
        read(
            request
                .header("x-include-refresh-token-hard-expires-in", "true")
                .send_form(form.to_vec())
                .unwrap(),
        )
        .unwrap()
    }

    /// The bytes of a request for a page of invoices.
    pub fn bytes(&self, headers: &str) -> String {
        let statement = "SELECT * FROM Invoice MAXRESULTS 5";
        format!(
            "POST /v3/company/{}/query HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \
             {}\r\nAccept: application/json\r\nContent-Type: application/text\r\n\
             Content-Length: {}\r\n{headers}\r\n{statement}",
            self.realm(),
            self.token,
            statement.len()
        )
    }

    /// Sends bytes, and reads what comes until the connection ends; and how it ended.
    pub fn raw(&self, request: &str) -> (Vec<u8>, std::io::Result<()>) {
        let mut socket = TcpStream::connect(self.url().split("//").nth(1).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match socket.read(&mut chunk) {
                Ok(0) => return (bytes, Ok(())),
                Ok(length) => bytes.extend_from_slice(&chunk[..length]),
                Err(error) => return (bytes, Err(error)),
            }
        }
    }
}

pub fn read(answer: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let (parts, mut body) = answer.into_parts();
    let body = body.with_config().limit(200 << 20).read_to_vec()?;
    Ok(Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

pub fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits =
            three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    out
}
