//! A server between a client and the embedded fleet that spoils chosen calls: what networks and services do, and what the
//! fleet itself does not.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What happens to a call.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It goes through.
    Pass,
    /// The connection breaks before the fleet sees it.
    LoseRequest,
    /// The fleet does it, and then the connection breaks.
    LoseAnswer,
    /// The fleet does not see it; this status and body come back.
    Answer(u16, String),
    /// The fleet gets this body instead.
    Instead(String),
}

/// A call on its way.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// Such as `SendCommand`.
    pub operation: &'a str,
    /// Which call of this operation it is, from 1.
    pub number: usize,
    /// JSON or a form.
    pub body: &'a str,
}

/// Starts the server; it ends with the process. `decide` is asked about each call. Returns what to give to the client.
pub(crate) fn start(fleet: SocketAddr, decide: impl Fn(&Call<'_>) -> Fault + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let decide = Arc::new(decide);
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (decide, seen) = (Arc::clone(&decide), Arc::clone(&seen));
            // A broken connection is what a test may want; the client's error tells.
            thread::spawn(move || serve(client, fleet, decide.as_ref(), &seen).ok());
        }
    });
    url
}

fn serve(
    mut client: TcpStream,
    fleet: SocketAddr,
    decide: &dyn Fn(&Call<'_>) -> Fault,
    seen: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let (head, body) = read_request(&client)?;
    let operation = operation(&head, &body);
    let number = {
        let mut seen = seen.lock().expect("no test panics while it holds this");
        seen.push(operation.clone());
        seen.iter().filter(|other| **other == operation).count()
    };
    let fault = decide(&Call { operation: &operation, number, body: &body });
    match fault {
        Fault::LoseRequest => {}
        Fault::LoseAnswer => {
            forward(fleet, &head, &body)?;
        }
        Fault::Pass => client.write_all(&forward(fleet, &head, &body)?)?,
        Fault::Instead(other) => client.write_all(&forward(fleet, &head, &other)?)?,
        Fault::Answer(status, text) => {
            let length = text.len();
            write!(
                client,
                "HTTP/1.1 {status} Spoiled\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n{text}"
            )?;
        }
    }
    client.shutdown(Shutdown::Both)
}

/// The head without the lines that are about this connection, and the body.
fn read_request(client: &TcpStream) -> io::Result<(Vec<String>, String)> {
    let mut reader = BufReader::new(client);
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_owned();
        let lower = line.to_ascii_lowercase();
        if let Some(number) = lower.strip_prefix("content-length:") {
            length = number.trim().parse().expect("a number");
        } else if line.is_empty() {
            break;
        } else if !lower.starts_with("connection:") {
            head.push(line);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((head, String::from_utf8(body).expect("requests are text")))
}

fn operation(head: &[String], body: &str) -> String {
    let target = head.iter().find(|line| line.to_ascii_lowercase().starts_with("x-amz-target:"));
    let name = match target {
        Some(line) => line.rsplit('.').next(),
        None => body.split('&').find_map(|field| field.strip_prefix("Action=")),
    };
    name.unwrap_or_default().to_owned()
}

fn forward(fleet: SocketAddr, head: &[String], body: &str) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(fleet)?;
    let head = head.join("\r\n");
    write!(server, "{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    Ok(answer)
}
