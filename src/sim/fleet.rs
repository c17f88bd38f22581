//! Makes up a fleet from a number and a seed: which systems, which tags, which state.
//!
//! The same seed gives the same fleet, whatever the clock says; only ages are counted from the time of the start.

use std::collections::BTreeMap;
use std::time::Duration;

use super::host::{Condition, EcsUnit, HostSpec, ProxyAnswer};
use super::windows::{self, ServerVersion, WindowsState};
use super::world::{AgentRecord, Ec2Record, Ec2State, Node, Time, Trouble};
use crate::catalog::{Platform, ProxyValues, Service};
use crate::fleet::InstanceId;

/// A small random number generator (SplitMix64): the fleet must be the same on every machine and for ever.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator for this seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // The remainder is below `end`, which is a usize.
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or_default()
    }

    /// One of several, each as often as its weight says.
    pub(crate) fn weighted<T: Copy>(&mut self, choices: &[(T, usize)]) -> T {
        let total = choices.iter().map(|(_, weight)| weight).sum();
        let mut at = self.below(total);
        for (choice, weight) in choices {
            if at < *weight {
                return *choice;
            }
            at -= weight;
        }
        choices[0].0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = self.below(at + 1);
            items.swap(at, other);
        }
    }
}

/// What sort of machine a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A system of the catalogue that answers.
    Managed(Platform),
    /// Ubuntu, which the catalogue does not have.
    Ubuntu,
    /// A release of Windows Server that the catalogue does not have.
    OldWindows,
    /// Bottlerocket.
    Bottlerocket,
    /// A system of the catalogue whose agent is silent.
    Offline(Platform),
    /// A system of the catalogue that is stopped.
    Stopped(Platform),
    /// A machine that SSM has never heard of.
    Unregistered,
}

/// One made-up machine.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// What the APIs tell of it.
    pub(crate) node: Node,
    /// What it is.
    pub(crate) kind: Kind,
    /// Its number among the machines of its kind of service manager, which decides its state.
    ordinal: usize,
    /// Decides what may differ between machines without a meaning.
    seed: u64,
}

/// What a machine is made from.
#[derive(Clone, Debug)]
pub(crate) enum MachineSpec {
    /// A Linux host.
    Linux(HostSpec),
    /// A Windows host.
    Windows(Box<WindowsState>),
}

impl Member {
    /// The machine to create; `None` for those that never run a script.
    pub(crate) fn machine_spec(&self, region: &str, proxies: &[String]) -> Option<MachineSpec> {
        match self.kind {
            Kind::Managed(Platform::Windows) => {
                let version = server_version(self.ordinal);
                Some(MachineSpec::Windows(Box::new(windows::scenario(self.ordinal, version, &wanted(), &former()))))
            }
            Kind::OldWindows => {
                let build = OLD_WINDOWS.1.rsplit('.').next().map(str::to_owned);
                Some(MachineSpec::Windows(Box::new(WindowsState { build, ..WindowsState::plain() })))
            }
            _ => self.host_spec(region, proxies).map(MachineSpec::Linux),
        }
    }

    fn host_spec(&self, region: &str, proxies: &[String]) -> Option<HostSpec> {
        let (platform, conditions) = match self.kind {
            Kind::Managed(platform) => (platform, scenario(platform, self.ordinal)),
            Kind::Offline(platform) => (platform, Vec::new()),
            Kind::Ubuntu => (Platform::AmazonLinux2, vec![Condition::UnsupportedSystem]),
            Kind::Bottlerocket => (Platform::AmazonLinux2, vec![Condition::UnsupportedSystem, bottlerocket()]),
            Kind::OldWindows | Kind::Stopped(_) | Kind::Unregistered => return None,
        };
        let mut spec = HostSpec::new(platform);
        spec.instance_id = self.node.id.to_string();
        region.clone_into(&mut spec.region);
        spec.seed = self.seed;
        spec.other_proxies = ProxyAnswer::Unreachable;
        spec.conditions = proxies
            .iter()
            .map(|proxy| Condition::Proxy { host_port: proxy.clone(), answer: ProxyAnswer::Status(200) })
            .chain(conditions)
            .collect();
        Some(spec)
    }
}

fn bottlerocket() -> Condition {
    Condition::File {
        path: "/etc/os-release".to_owned(),
        contents: b"NAME=Bottlerocket\nID=bottlerocket\nVERSION_ID=1.26.1\nPRETTY_NAME=\"Bottlerocket OS 1.26.1\"\n"
            .to_vec(),
        mode: 0o644,
    }
}

/// The proxy that the example policies want.
fn wanted() -> ProxyValues {
    let proxy = "http://10.0.0.131:3128".to_owned();
    ProxyValues::new(proxy.clone(), proxy, [".internal.example.com", "10.0.0.15"])
}

/// A proxy of former times.
fn former() -> ProxyValues {
    let proxy = "http://10.0.0.99:8080".to_owned();
    ProxyValues::new(proxy.clone(), proxy, [])
}

/// The state of a machine before anybody looks: by its number, so that a small fleet shows every sort as well.
fn scenario(platform: Platform, ordinal: usize) -> Vec<Condition> {
    let systemd = platform != Platform::AmazonLinux1;
    // About one in a hundred has a drop-in of somebody else that wins over ours.
    if systemd && ordinal % 100 == 13 {
        let file = "zz-company.conf".to_owned();
        return vec![Condition::ForeignDropIn { service: Service::Docker, file, values: former() }];
    }
    let stale = |service, before, reloaded| {
        vec![Condition::Configured(wanted()), Condition::Stale { service, before, reloaded }]
    };
    let mut conditions = match ordinal % 20 {
        1 | 8 | 14 => vec![Condition::Configured(wanted())],
        2 | 9 | 15 => vec![Condition::GuideConfigured { host_port: "10.0.0.131:3128".to_owned() }],
        3 | 16 => vec![Condition::Configured(former())],
        4 => stale(Service::Docker, Some(former()), true),
        5 => stale(Service::Ecs, None, false),
        6 => vec![Condition::CrlfEcsConfig, Condition::Configured(former())],
        7 if systemd => vec![Condition::SysconfigExports(former())],
        7 => vec![Condition::SysconfigVariables(former())],
        10 => vec![Condition::SymlinkedPackageConf],
        11 => vec![Condition::LowerCaseVariables(former())],
        12 => vec![Condition::DockerStopped],
        13 => vec![Condition::UnendedEcsConfig],
        17 => vec![Condition::EmptyEcsConfig],
        18 => vec![Condition::MissingEcsConfig],
        _ => Vec::new(),
    };
    if systemd && ordinal % 7 == 3 {
        conditions.push(Condition::EcsUnit(EcsUnit::WantsOnly));
    } else if systemd && ordinal % 7 == 5 {
        conditions.push(Condition::EcsUnit(EcsUnit::Requires));
    }
    conditions
}

/// The release of the Windows machine with this number.
const fn server_version(ordinal: usize) -> ServerVersion {
    match ordinal % 4 {
        0 => ServerVersion::Server2022,
        1 => ServerVersion::Server2019,
        2 => ServerVersion::Server2025,
        _ => ServerVersion::Server2016,
    }
}

/// Name and version in SSM of a Windows that the catalogue does not have.
const OLD_WINDOWS: (&str, &str) = ("Microsoft Windows Server 2012 R2 Standard", "6.3.9600");

/// A fleet of `count` machines, at least `windows` of them managed ones with Windows.
pub(crate) fn generate(count: usize, windows: usize, seed: u64, region: &str, now: Time) -> Vec<Member> {
    let mut random = Random::new(seed);
    let mut kinds = kinds(count, windows);
    random.shuffle(&mut kinds);
    let mut reservation = String::new();
    let mut left_in_reservation = 0;
    let mut launch_index = 0;
    let mut launched = now;
    let (mut systemd, mut upstart, mut service_manager) = (0, 0, 0);
    let mut members = Vec::with_capacity(count);
    for (number, kind) in kinds.into_iter().enumerate() {
        if left_in_reservation == 0 {
            reservation = format!("r-0{:016x}", random.next());
            left_in_reservation = 1 + random.below(3);
            launch_index = 0;
            launched = now.saturating_sub(Duration::from_secs(86_400 + random.next() % (90 * 86_400)));
        }
        let last_ping = now.saturating_sub(Duration::from_mins(60 + random.next() % (72 * 60)));
        let launch = Launch { reservation: &reservation, index: launch_index, at: launched };
        let ordinals = match kind {
            Kind::Managed(Platform::AmazonLinux1) => &mut upstart,
            Kind::Managed(Platform::Windows) => &mut service_manager,
            _ => &mut systemd,
        };
        let place = Place { number, ordinal: *ordinals, region };
        let node = node(&mut random, place, kind, &launch, last_ping.max(launched));
        members.push(Member { node, kind, ordinal: *ordinals, seed: random.next() });
        if matches!(kind, Kind::Managed(_)) {
            *ordinals += 1;
        }
        left_in_reservation -= 1;
        launch_index += 1;
    }
    members
}

/// The mix: about 8% that cannot be managed (one of each sort from 24 machines on), and of the others 10% Amazon Linux
/// AMI, 10% Windows, a third Amazon Linux 2023, the rest Amazon Linux 2.
fn kinds(count: usize, windows: usize) -> Vec<Kind> {
    const SPECIAL: [Kind; 6] = [
        Kind::Offline(Platform::AmazonLinux2),
        Kind::Ubuntu,
        Kind::Unregistered,
        Kind::OldWindows,
        Kind::Stopped(Platform::AmazonLinux2),
        Kind::Bottlerocket,
    ];
    let least = if count >= 24 { SPECIAL.len() } else { 0 };
    let share = (count * 8 + 50) / 100;
    let special = share.max(least).min(count.saturating_sub(1));
    let managed = count - special;
    let first = if managed >= 3 { (managed / 10).max(1) } else { 0 };
    let windows = (managed / 10).max(usize::from(count >= 10)).max(windows).min(managed - first);
    let third = (managed / 3).min(managed - first - windows);
    let mut kinds: Vec<Kind> = SPECIAL.into_iter().cycle().take(special).collect();
    kinds.extend(std::iter::repeat_n(Kind::Managed(Platform::AmazonLinux1), first));
    kinds.extend(std::iter::repeat_n(Kind::Managed(Platform::Windows), windows));
    kinds.extend(std::iter::repeat_n(Kind::Managed(Platform::AmazonLinux2023), third));
    kinds.extend(std::iter::repeat_n(Kind::Managed(Platform::AmazonLinux2), managed - first - windows - third));
    kinds
}

/// Machines that were started together.
struct Launch<'a> {
    reservation: &'a str,
    index: u32,
    at: Time,
}

/// Where a machine stands: in the whole fleet, among those of its kind of service manager, in the world.
#[derive(Clone, Copy)]
struct Place<'a> {
    number: usize,
    ordinal: usize,
    region: &'a str,
}

/// `last_ping` is when those that are silent were last heard of.
fn node(random: &mut Random, place: Place<'_>, kind: Kind, launch: &Launch<'_>, last_ping: Time) -> Node {
    let number = place.number;
    let windows = matches!(kind, Kind::OldWindows | Kind::Managed(Platform::Windows));
    let id = format!("i-0{:016x}", random.next());
    let zone = random.weighted(&[('a', 1), ('b', 1), ('c', 1)]);
    // A network a zone, so that addresses stay apart however large the fleet is.
    let network = 64 * (1 + zone as usize - 'a' as usize) - 63 + number / 62_500;
    let private_ip = format!("10.{network}.{}.{}", number / 250 % 250, 4 + number % 250);
    let (instance_type, architecture) =
        random.weighted(&[(("m6i.large", "x86_64"), 5), (("c6i.xlarge", "x86_64"), 2), (("m7g.large", "arm64"), 3)]);
    let tags = tags(random, number);
    Node {
        id: InstanceId::parse(&id).expect("invariant: `i-0` and 16 digits is an id"),
        tags,
        agent: agent(kind, place, last_ping, &private_ip),
        trouble: Trouble::default(),
        ec2: Ec2Record {
            reservation: launch.reservation.to_owned(),
            state: if matches!(kind, Kind::Stopped(_)) { Ec2State::Stopped } else { Ec2State::Running },
            image: image(kind, place.ordinal).to_owned(),
            instance_type: if windows { "m6i.large" } else { instance_type },
            architecture: if windows { "x86_64" } else { architecture },
            launch_index: launch.index,
            private_ip,
            subnet: format!("subnet-0a1b2c3d4e5f6070{zone}"),
            vpc: "vpc-0123456789abcdef0".to_owned(),
            zone,
            launched: launch.at,
            windows,
        },
    }
}

fn tags(random: &mut Random, number: usize) -> BTreeMap<String, String> {
    let role = random.weighted(&[("ecs-web", 8), ("ecs-worker", 6), ("ecs-ingest", 3), ("batch", 3)]);
    let environment = random.weighted(&[("production", 12), ("staging", 5), ("development", 3)]);
    let team = random.weighted(&[("payments", 1), ("search", 1), ("platform", 1), ("data & ml", 1)]);
    let mut tags: BTreeMap<String, String> = [
        ("Name", format!("{role}-{number:04}")),
        ("Environment", environment.to_owned()),
        ("Role", role.to_owned()),
        ("Team", team.to_owned()),
        ("aws:autoscaling:groupName", format!("{environment}-{role}")),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    if random.below(25) == 0 {
        tags.insert("ProxyExempt".to_owned(), "true".to_owned());
    }
    tags
}

fn image(kind: Kind, ordinal: usize) -> &'static str {
    match kind {
        Kind::Managed(Platform::AmazonLinux1) => "ami-0a1e1ec5000000001",
        Kind::Managed(Platform::AmazonLinux2) | Kind::Offline(_) | Kind::Stopped(_) => "ami-0a1e1ec5000000002",
        Kind::Managed(Platform::AmazonLinux2023) | Kind::Unregistered => "ami-0a1e1ec5000002023",
        Kind::Ubuntu => "ami-0b0b0b0b000002204",
        Kind::OldWindows => "ami-0c0c0c0c000002012",
        Kind::Managed(Platform::Windows) => match server_version(ordinal) {
            ServerVersion::Server2016 => "ami-0c0c0c0c000002016",
            ServerVersion::Server2019 => "ami-0c0c0c0c000002019",
            ServerVersion::Server2022 => "ami-0c0c0c0c000002022",
            ServerVersion::Server2025 => "ami-0c0c0c0c000002025",
        },
        Kind::Bottlerocket => "ami-0d0d0d0d000000001",
    }
}

/// What the agent of such a machine reported; names and versions as SSM shows them.
fn agent(kind: Kind, place: Place<'_>, last_ping: Time, private_ip: &str) -> Option<AgentRecord> {
    let (platform_type, platform_name, platform_version, version) = match kind {
        Kind::Unregistered => return None,
        Kind::Managed(platform) | Kind::Offline(platform) | Kind::Stopped(platform) => match platform {
            Platform::AmazonLinux1 => ("Linux", "Amazon Linux AMI", "2018.03", "3.2.2303.0"),
            Platform::AmazonLinux2 => ("Linux", "Amazon Linux", "2", "3.3.987.0"),
            Platform::AmazonLinux2023 => ("Linux", "Amazon Linux", "2023", "3.3.1611.0"),
            Platform::Windows => {
                let (name, version) = match server_version(place.ordinal) {
                    ServerVersion::Server2016 => ("Microsoft Windows Server 2016 Datacenter", "10.0.14393"),
                    ServerVersion::Server2019 => ("Microsoft Windows Server 2019 Datacenter", "10.0.17763"),
                    ServerVersion::Server2022 => ("Microsoft Windows Server 2022 Datacenter", "10.0.20348"),
                    ServerVersion::Server2025 => ("Microsoft Windows Server 2025 Datacenter", "10.0.26100"),
                };
                ("Windows", name, version, "3.3.987.0")
            }
        },
        Kind::Ubuntu => ("Linux", "Ubuntu", "22.04", "3.3.987.0"),
        Kind::OldWindows => ("Windows", OLD_WINDOWS.0, OLD_WINDOWS.1, "3.2.2303.0"),
        Kind::Bottlerocket => ("Linux", "Bottlerocket", "1.26.1", "3.3.859.0"),
    };
    let computer = if platform_type == "Windows" {
        format!("EC2AMAZ-{:0>7}", private_ip.replace('.', ""))
    } else {
        format!("ip-{}.{}.compute.internal", private_ip.replace('.', "-"), place.region)
    };
    Some(AgentRecord {
        online: !matches!(kind, Kind::Offline(_) | Kind::Stopped(_)),
        last_ping,
        version,
        platform_type,
        platform_name,
        platform_version,
        computer_name: computer,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::{Kind, generate};
    use crate::catalog::Platform;
    use crate::sim::world::Time;

    const NOW: Time = Duration::from_hours(500_000);

    #[test]
    fn a_seed_gives_the_same_fleet_again() {
        let (one, two, other) = (
            generate(200, 0, 7, "eu-central-1", NOW),
            generate(200, 0, 7, "eu-central-1", NOW + Duration::from_secs(99)),
            generate(200, 0, 8, "eu-central-1", NOW),
        );
        let ids = |fleet: &[super::Member]| {
            fleet
                .iter()
                .map(|member| (member.node.id.clone(), member.node.tags.clone(), member.kind))
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(&one), ids(&two));
        assert_ne!(ids(&one), ids(&other));
        let unique: BTreeSet<&str> = one.iter().map(|member| member.node.id.as_str()).collect();
        assert_eq!(unique.len(), 200);
        let addresses: BTreeSet<&str> = one.iter().map(|member| member.node.ec2.private_ip.as_str()).collect();
        assert_eq!(addresses.len(), 200);
    }

    #[test]
    fn from_24_on_every_sort_is_there() {
        for count in [24, 25, 60, 200] {
            let fleet = generate(count, 0, 1, "eu-central-1", NOW);
            let has = |wanted: &dyn Fn(Kind) -> bool| fleet.iter().any(|member| wanted(member.kind));
            assert_eq!(fleet.len(), count);
            for platform in Platform::ALL {
                assert!(has(&|kind| kind == Kind::Managed(platform)), "{count}: no {platform}");
            }
            for kind in [Kind::Ubuntu, Kind::OldWindows, Kind::Bottlerocket, Kind::Unregistered] {
                assert!(has(&|found| found == kind), "{count}: no {kind:?}");
            }
            assert!(
                has(&|kind| matches!(kind, Kind::Offline(_))) && has(&|kind| matches!(kind, Kind::Stopped(_))),
                "{count}"
            );
        }
    }

    #[test]
    fn as_many_windows_machines_as_asked_for() {
        for (count, windows, expected) in [(9, 0, 0), (10, 0, 1), (20, 2, 2), (200, 2, 18), (3, 3, 2), (3, 2, 2)] {
            let fleet = generate(count, windows, 3, "eu-central-1", NOW);
            let found = fleet.iter().filter(|member| member.kind == Kind::Managed(Platform::Windows)).count();
            assert_eq!((fleet.len(), found), (count, expected), "{windows} of {count}");
        }
    }

    #[test]
    fn small_fleets_are_managed() {
        for count in [0, 1, 2, 3, 10] {
            let fleet = generate(count, 0, 3, "eu-central-1", NOW);
            assert_eq!(fleet.len(), count);
            let managed = fleet.iter().filter(|member| matches!(member.kind, Kind::Managed(_))).count();
            assert!(managed >= count.saturating_sub(1), "{managed} of {count}");
        }
    }

    #[test]
    fn names_of_systems_are_those_the_catalogue_knows() {
        for member in generate(60, 0, 5, "eu-central-1", NOW) {
            let Some(agent) = &member.node.agent else { continue };
            let platform = Platform::from_ssm(agent.platform_name, agent.platform_version);
            match member.kind {
                Kind::Managed(expected) | Kind::Offline(expected) | Kind::Stopped(expected) => {
                    assert_eq!(platform, Some(expected));
                }
                _ => assert_eq!(platform, None),
            }
        }
    }
}
