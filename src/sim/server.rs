//! The embedded fleet as one thing to start and to drop.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use tempfile::TempDir;
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::commands::CommandBook;
use super::documents::DocumentStore;
use super::driver;
use super::faults::{FaultCounts, Faults, chosen};
use super::fleet::{self, Kind, MachineSpec, Random};
use super::host::{Bin, Condition, Fault, FaultWhen, Host, HostSpec, ProxyAnswer};
use super::line::{Line, Lines};
use super::windows::{ModelHost, Proxies, RealBody, Surroundings, WindowsHost, Winhost};
use super::wire;
use super::world::{Ec2State, Node, Time, World};
use crate::catalog::{Platform, Service};
use crate::fleet::{InstanceId, Scope};

/// What to start.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// How many instances.
    pub instances: usize,
    /// The same seed makes the same fleet.
    pub seed: u64,
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Account and region that the fleet is in.
    pub scope: Scope,
    /// How long what was just written is not seen everywhere yet: a new document is not `Active`, the invocations of a
    /// command that was just sent are not listed.
    pub consistency: Duration,
    /// The proxies (`HOST:PORT`) that the hosts can reach; others do not answer.
    pub proxies: Vec<String>,
    /// How many of the Windows instances get a real body, made with the tool `winhost`; the fleet has at least as many.
    pub winhost: usize,
    /// What goes wrong.
    pub faults: Faults,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            instances: 24,
            seed: 1,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            scope: Scope { account: "111122223333".to_owned(), region: "eu-central-1".to_owned() },
            consistency: Duration::from_millis(100),
            proxies: vec!["10.0.0.131:3128".to_owned(), "10.0.0.132:3128".to_owned()],
            winhost: 0,
            faults: Faults::default(),
        }
    }
}

/// A running embedded fleet. It has a thread and a runtime of its own, so it serves any caller, blocking or not.
/// Dropping it stops the server and removes the hosts' folders.
#[derive(Debug)]
pub struct Sim {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    // The last member, so that the folders go when nobody uses them any more.
    _folder: TempDir,
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    world: Mutex<World>,
    scope: Scope,
    requests: AtomicU64,
    seed: u64,
    folder: PathBuf,
    bin: Bin,
    hosts: HashMap<InstanceId, LazyHost>,
    surroundings: Surroundings,
    faults: Faults,
    struck: Struck,
    slots: Arc<Semaphore>,
    wake: Notify,
}

/// Which instances the faults of a fleet are for. Only those that run a system of the catalogue and answer at the start are
/// ever struck.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Struck {
    /// Those that fall silent at their first change.
    pub offline: BTreeSet<InstanceId>,
    /// Those that reboot during their first change.
    pub reboots: BTreeSet<InstanceId>,
    /// Those on which nothing can be written.
    pub disk_full: BTreeSet<InstanceId>,
    /// Those whose docker does not start with other settings.
    pub broken_docker: BTreeSet<InstanceId>,
    /// Those that cannot reach any proxy.
    pub no_proxy: BTreeSet<InstanceId>,
}

impl Struck {
    fn new(options: &SimOptions, members: &[fleet::Member]) -> Self {
        let ids = |wanted: &dyn Fn(Platform) -> bool| -> Vec<InstanceId> {
            let fits = |kind: Kind| matches!(kind, Kind::Managed(platform) if wanted(platform));
            members.iter().filter(|member| fits(member.kind)).map(|member| member.node.id.clone()).collect()
        };
        let all = ids(&|_| true);
        let linux = ids(&|platform| platform != Platform::Windows);
        let windows = ids(&|platform| platform == Platform::Windows);
        // The docker of a real Windows host is not ours to break; those are the first.
        let breakable: Vec<InstanceId> = linux.iter().chain(windows.iter().skip(options.winhost)).cloned().collect();
        let (faults, seed) = (&options.faults, options.seed);
        let reach = faults.proxy_reach.unwrap_or(usize::MAX);
        Self {
            offline: chosen(faults.offline, seed, "offline", &all),
            reboots: chosen(faults.reboots, seed, "reboots", &all),
            disk_full: chosen(faults.disk_full, seed, "disk-full", &linux),
            broken_docker: chosen(faults.broken_docker, seed, "broken-docker", &breakable),
            no_proxy: all.into_iter().collect::<BTreeSet<_>>().into_iter().skip(reach).collect(),
        }
    }

    /// The proxies of `all` that an instance reaches.
    fn reach<'a>(&self, id: &InstanceId, all: &'a [String]) -> &'a [String] {
        if self.no_proxy.contains(id) { &[] } else { all }
    }

    fn mark(&self, node: &mut Node) {
        node.trouble.falls_silent = self.offline.contains(&node.id);
        node.trouble.reboots = self.reboots.contains(&node.id);
    }

    /// Adds what is wrong with a Linux host.
    fn afflict(&self, id: &InstanceId, spec: HostSpec) -> HostSpec {
        let mut spec = spec;
        if self.disk_full.contains(id) {
            spec = spec.with(Condition::DiskFull);
        }
        if self.broken_docker.contains(id) {
            let fault = Fault { when: FaultWhen::Changed, containing: None };
            spec = spec.with(Condition::Failing(Service::Docker, fault));
        }
        spec
    }
}

/// A machine that comes into being when something first happens on it: most instances of a large fleet are only listed.
#[derive(Debug)]
struct LazyHost {
    spec: MachineSpec,
    host: OnceLock<io::Result<Machine>>,
}

/// A machine that scripts run on.
#[derive(Clone, Debug)]
pub(crate) enum Machine {
    /// Linux.
    Linux(Arc<Host>),
    /// Windows.
    Windows(Arc<WindowsHost>),
}

impl Shared {
    fn new(options: SimOptions, folder: &Path) -> io::Result<Self> {
        let region = options.scope.region.clone();
        let members = fleet::generate(options.instances, options.winhost, options.seed, &region, wall_clock());
        let struck = Struck::new(&options, &members);
        let bin = Bin::create(&folder.join("bin"))?;
        let real = real_hosts(&options, &members, &struck, folder)?;
        let hosts = members
            .iter()
            .filter_map(|member| {
                let id = &member.node.id;
                let spec = match member.machine_spec(&region, struck.reach(id, &options.proxies))? {
                    MachineSpec::Linux(spec) => MachineSpec::Linux(struck.afflict(id, spec)),
                    windows @ MachineSpec::Windows(_) => windows,
                };
                let host = OnceLock::new();
                if let Some(machine) = real.get(&member.node.id) {
                    // Nobody else has the lock yet.
                    let _ = host.set(Ok(machine.clone()));
                }
                Some((member.node.id.clone(), LazyHost { spec, host }))
            })
            .collect();
        let mut nodes: Vec<Node> = members.into_iter().map(|member| member.node).collect();
        for node in &mut nodes {
            struck.mark(node);
        }
        let faults = options.faults;
        let documents = DocumentStore::new(options.consistency);
        let commands = CommandBook::new(options.seed, options.consistency, faults.clock);
        let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
        let reachable = options.proxies.iter().map(|proxy| (proxy.clone(), ProxyAnswer::Status(200)));
        Ok(Self {
            world: Mutex::new(World::new(
                options.scope.clone(),
                options.seed,
                nodes,
                documents,
                commands,
                faults.clone(),
            )),
            scope: options.scope,
            requests: AtomicU64::new(1),
            seed: options.seed,
            folder: folder.to_owned(),
            bin,
            hosts,
            surroundings: Surroundings {
                region,
                proxies: reachable.collect(),
                other_proxies: ProxyAnswer::Unreachable,
            },
            faults,
            struck,
            slots: Arc::new(Semaphore::new(2 * cores)),
            wake: Notify::new(),
        })
    }

    /// The state. A handler that panicked has left nothing half done that the next one could not live with.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Account and region.
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The time.
    #[expect(clippy::unused_self, reason = "later the clock of the fleet may be its own")]
    pub(crate) fn now(&self) -> Time {
        wall_clock()
    }

    /// Tells the driver that something may be due.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits for [`Shared::wake`].
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Waits for the right to keep a processor busy.
    pub(crate) async fn slot(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.slots).acquire_owned().await
    }

    /// The machine behind a node, where there is one. It comes into being when it is first asked for.
    pub(crate) fn host(&self, id: &InstanceId) -> Option<Result<Machine, &io::Error>> {
        let lazy = self.hosts.get(id)?;
        let create = || match &lazy.spec {
            MachineSpec::Linux(spec) => {
                Host::create(&self.folder.join(id.as_str()), &self.bin, spec).map(|host| Machine::Linux(Arc::new(host)))
            }
            MachineSpec::Windows(state) => {
                let mut surroundings = self.surroundings.clone();
                if self.struck.no_proxy.contains(id) {
                    surroundings.proxies.clear();
                }
                let model = ModelHost::new(state, surroundings);
                if self.struck.broken_docker.contains(id) {
                    model.break_docker();
                }
                Ok(Machine::Windows(Arc::new(WindowsHost::Model(Box::new(model)))))
            }
        };
        Some(match lazy.host.get_or_init(create) {
            Ok(machine) => Ok(machine.clone()),
            Err(error) => Err(error),
        })
    }

    /// How long so many seconds of the service take.
    pub(crate) fn waiting(&self, seconds: u64) -> Duration {
        Duration::from_secs(seconds) / self.faults.clock.max(1)
    }

    /// A new id for a request, in the form of a UUID.
    pub(crate) fn request_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        uuid(&mut Random::new(self.seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d)))
    }
}

/// Makes the real Windows hosts of a fleet, for the first of its Windows instances.
fn real_hosts(
    options: &SimOptions,
    members: &[fleet::Member],
    struck: &Struck,
    folder: &Path,
) -> io::Result<HashMap<InstanceId, Machine>> {
    let mut machines = HashMap::new();
    if options.winhost == 0 {
        return Ok(machines);
    }
    let windows: Vec<&fleet::Member> =
        members.iter().filter(|member| member.kind == Kind::Managed(Platform::Windows)).take(options.winhost).collect();
    if windows.len() < options.winhost {
        return Err(io::Error::other(format!(
            "a fleet of {} instances has no room for {} Windows hosts",
            options.instances, options.winhost
        )));
    }
    let winhost = Winhost::find().map_err(io::Error::other)?;
    let (reachable, none) = (Arc::new(Proxies::start(&options.proxies)?), Arc::new(Proxies::start(&[])?));
    for member in windows {
        let proxies = if struck.no_proxy.contains(&member.node.id) { &none } else { &reachable };
        let Some(MachineSpec::Windows(state)) = member.machine_spec(&options.scope.region, &options.proxies) else {
            continue;
        };
        let host = winhost.create(&folder.join(member.node.id.as_str()), state.version)?;
        let body = RealBody::new(host, &state, Arc::clone(proxies), options.scope.region.clone())?;
        machines.insert(member.node.id.clone(), Machine::Windows(Arc::new(WindowsHost::Real(body))));
    }
    Ok(machines)
}

fn wall_clock() -> Time {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A random UUID, version 4.
pub(crate) fn uuid(random: &mut Random) -> String {
    let (high, low) = (random.next(), random.next());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff
    )
}

impl Sim {
    /// Starts a fleet.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the folder for the hosts cannot be written.
    pub fn start(options: SimOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let folder = tempfile::Builder::new().prefix("proxyfleet-sim-").tempdir()?;
        let shared = Arc::new(Shared::new(options, folder.path())?);
        // The last thing that can fail: within the caller's own runtime it could not be dropped again.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (stop, stopped) = watch::channel(false);
        let state = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("proxyfleet-sim".to_owned()).spawn(move || {
            runtime.block_on(serve(listener, state, stopped));
            // Scripts that run now get a moment to end.
            runtime.shutdown_timeout(Duration::from_secs(5));
        })?;
        Ok(Self { shared, address, stop, thread: Some(thread), _folder: folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to give to a client as its endpoint.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The ids of the fleet, in the order in which EC2 lists them.
    pub fn instance_ids(&self) -> Vec<InstanceId> {
        self.shared.world().nodes.iter().map(|node| node.id.clone()).collect()
    }

    /// The Linux machine behind an instance, to look at it or to edit its files from outside; `None` for an instance with
    /// Windows or that never runs a script (stopped, unknown to SSM), and where its folder cannot be written.
    pub fn host(&self, id: &InstanceId) -> Option<Arc<Host>> {
        match self.shared.host(id)?.ok()? {
            Machine::Linux(host) => Some(host),
            Machine::Windows(_) => None,
        }
    }

    /// The Windows machine behind an instance; `None` for any other.
    pub fn windows_host(&self, id: &InstanceId) -> Option<Arc<WindowsHost>> {
        match self.shared.host(id)?.ok()? {
            Machine::Linux(_) => None,
            Machine::Windows(host) => Some(host),
        }
    }

    /// The Windows instances with a real body, with the folder of each for commands of the tool `winhost`.
    pub fn real_windows_hosts(&self) -> Vec<(InstanceId, PathBuf)> {
        // Only machines that are there already: real hosts are made at the start.
        let folder = |id: InstanceId| match self.shared.hosts.get(&id)?.host.get()?.as_ref().ok()? {
            Machine::Windows(host) => match &**host {
                WindowsHost::Real(body) => Some((id, body.host().dir().to_owned())),
                WindowsHost::Model(_) => None,
            },
            Machine::Linux(_) => None,
        };
        self.instance_ids().into_iter().filter_map(folder).collect()
    }

    /// Lets the agent of an instance fall silent, or come back and take what waits for it.
    pub fn set_online(&self, id: &InstanceId, online: bool) {
        let now = self.shared.now();
        if let Some(agent) = self.shared.world().node_mut(id.as_str()).and_then(|node| node.agent.as_mut()) {
            agent.online = online;
            agent.last_ping = now;
        }
        self.shared.wake();
    }

    /// Terminates an instance: EC2 still lists it, SSM does not know it any more.
    pub fn terminate(&self, id: &InstanceId) {
        if let Some(node) = self.shared.world().node_mut(id.as_str()) {
            node.ec2.state = Ec2State::Terminated;
            node.agent = None;
        }
        self.shared.wake();
    }

    /// How often each operation was called, throttled calls included.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.shared.world().calls.clone()
    }

    /// What has gone wrong so far because of [`SimOptions::faults`].
    pub fn fault_counts(&self) -> FaultCounts {
        self.shared.world().fault_counts
    }

    /// Which instances the faults are for.
    pub fn struck(&self) -> &Struck {
        &self.shared.struck
    }

    /// How often a service of an instance was told to start by a command, or by whoever else works on the host, failed starts
    /// of Linux hosts included; starts of the machine do not count. `None` for an instance without a machine.
    pub fn command_starts(&self, id: &InstanceId, service: Service) -> Option<u32> {
        let (starts, boots) = match self.shared.host(id)?.ok()? {
            Machine::Linux(host) => (host.starts(service), host.boot_starts(service)),
            Machine::Windows(host) => {
                let (starts, boots) = host.starts(service);
                (u32::try_from(starts).unwrap_or(u32::MAX), u32::try_from(boots).unwrap_or(u32::MAX))
            }
        };
        Some(starts.saturating_sub(boots))
    }

    /// Puts a CloudWatch alarm into alarm for good: commands that name it are stopped.
    pub fn raise_alarm(&self, name: &str) {
        self.shared.world().commands.raise_alarm(name);
        self.shared.wake();
    }

    /// Throttles the next `count` calls of an operation.
    pub fn throttle(&self, operation: &str, count: u32) {
        self.shared.world().throttles.insert(operation.to_owned(), count);
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // The receiver is gone only when the thread has ended already.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            // A server thread that panicked has printed its message.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let driving = tokio::spawn(driver::drive(Arc::clone(&shared)));
    let router = Router::new().fallback(wire::answer).with_state(shared);
    let service = router.into_make_service_with_connect_info::<Line>();
    let stopping = async move {
        // An error means that the owner is gone, which is a reason to stop as well.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    // Clients that keep their connection open must not keep the server alive, so it is not asked to drain them.
    tokio::select! {
        _ = axum::serve(Lines(listener), service) => {}
        () = stopping => {}
    }
    driving.abort();
}
