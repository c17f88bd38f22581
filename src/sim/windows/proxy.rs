//! Proxies for real hosts: listeners on this machine that answer CONNECT and carry nothing.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::sim::host::ProxyAnswer;

/// How long a client may take for its request.
const PATIENCE: Duration = Duration::from_secs(5);

/// A proxy that gives everybody the same answer, until it is dropped.
#[derive(Debug)]
pub struct StandIn {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Starts one on a port of this machine that nobody uses. One that is unreachable hangs up at once.
    pub fn start(answer: ProxyAnswer) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("proxyfleet-proxy".to_owned()).spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                if let (Ok(client), ProxyAnswer::Status(status)) = (client, answer) {
                    // A client that goes away gets no answer, which is all the same to us.
                    let _ = serve(client, status);
                }
            }
        })?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread; if this fails, it has ended already.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has printed why.
            let _ = thread.join();
        }
    }
}

fn serve(mut client: TcpStream, status: u16) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < 16_384 {
        match client.read(&mut buffer)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&buffer[..read]),
        }
    }
    let status = if request.starts_with(b"CONNECT ") { status } else { 405 };
    client.write_all(format!("HTTP/1.1 {status} Stand-in\r\nContent-Length: 0\r\n\r\n").as_bytes())
}

/// The proxies of a fleet's real hosts: those that can be reached, and all others.
#[derive(Debug)]
pub struct Proxies {
    reachable: StandIn,
    unreachable: StandIn,
    names: Vec<String>,
}

impl Proxies {
    /// Starts stand-ins for the proxies `HOST:PORT` in `reachable`; no other answers.
    pub fn start(reachable: &[String]) -> io::Result<Self> {
        Ok(Self {
            reachable: StandIn::start(ProxyAnswer::Status(200))?,
            unreachable: StandIn::start(ProxyAnswer::Unreachable)?,
            names: reachable.to_vec(),
        })
    }

    /// What scripts find in `PROXYFLEET_ROUTE`. The ECS agent of a real host has no port to answer on.
    pub fn route(&self) -> String {
        let (yes, no) = (self.reachable.address(), self.unreachable.address());
        let names: Vec<String> = self.names.iter().map(|name| format!("{name}={yes};")).collect();
        format!("{}localhost:51678={no};*={no}", names.concat())
    }
}
