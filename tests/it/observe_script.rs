//! What the observe document says of other sources of the same variables.

use proxyfleet::catalog::{Component, Key, Platform, Service};
use proxyfleet::fleet::{ForeignEffect, parse_observe};
use proxyfleet::sim::host::Condition;

use crate::scene::{Scene, proxy, values};

/// One other source as it is expected in a report: component, effect, path.
type Source = (Component, ForeignEffect, &'static str);

/// Asserts that exactly these sources are reported, each for every variable and with the value that it gives.
#[track_caller]
fn reports(platform: Platform, condition: Condition, expected: &[Source]) {
    const OTHER: &str = "http://other.example.com:8080";
    let case = format!("{platform}, {condition:?}");
    let scene = Scene::with(platform, [condition]);
    let text = scene.observe_text();
    let observed = parse_observe(&text).unwrap_or_else(|error| panic!("{case}: {error}\n{text}"));
    for (component, effect, path) in expected {
        for key in [Key::HttpProxy, Key::HttpsProxy, Key::NoProxy] {
            let found = observed.foreign.iter().any(|source| {
                let value = match key {
                    Key::NoProxy => &proxy(OTHER).bypass,
                    _ => OTHER,
                };
                (source.component, source.key, source.effect, source.path.as_str()) == (*component, key, *effect, path)
                    && source.value.is(value, key.kind())
            });
            assert!(found, "{case}: {component} {key} {effect:?} {path}\n{text}");
        }
    }
    assert_eq!(observed.foreign.len(), 3 * expected.len(), "{case}: nothing else\n{text}");
}

#[test]
fn other_sources_are_reported_with_what_becomes_of_them() {
    use Component::{Docker, EcsAgent, EcsInit};
    use ForeignEffect::{Inert, Overrides};
    let other = || proxy("http://other.example.com:8080");
    let drop_in = |service, file: &str| Condition::ForeignDropIn { service, file: file.to_owned(), values: other() };
    for platform in [Platform::AmazonLinux2, Platform::AmazonLinux2023] {
        reports(
            platform,
            drop_in(Service::Docker, "zz.conf"),
            &[(Docker, Overrides, "/etc/systemd/system/docker.service.d/zz.conf")],
        );
        reports(
            platform,
            drop_in(Service::Ecs, "10-first.conf"),
            &[(EcsInit, Inert, "/etc/systemd/system/ecs.service.d/10-first.conf")],
        );
        reports(platform, Condition::SysconfigVariables(other()), &[(Docker, Overrides, "/etc/sysconfig/docker")]);
        reports(platform, Condition::SysconfigExports(other()), &[(Docker, Inert, "/etc/sysconfig/docker")]);
        let manager = "/etc/systemd/system.conf.d/proxy.conf";
        let both = [(EcsInit, Inert, manager), (Docker, Inert, manager)];
        reports(platform, Condition::DefaultEnvironment(other()), &both);
        reports(platform, Condition::DaemonJsonProxies(other()), &[(Docker, Overrides, "/etc/docker/daemon.json")]);
        let config = "/etc/ecs/ecs.config";
        let lower = "/etc/systemd/system/docker.service.d/10-lower-case.conf";
        reports(
            platform,
            Condition::LowerCaseVariables(other()),
            &[(EcsAgent, Inert, config), (EcsInit, Inert, config), (Docker, Inert, lower)],
        );
    }
    // There, the file with the exports is the carrier itself, and no drop-ins exist.
    let sysconfig = "/etc/sysconfig/docker";
    reports(
        Platform::AmazonLinux1,
        Condition::LowerCaseVariables(other()),
        &[(EcsAgent, Inert, "/etc/ecs/ecs.config"), (Docker, Inert, sysconfig)],
    );
}

#[test]
fn the_winner_among_several_drop_ins_is_the_last_by_name() {
    let drop_in = |file: &str, url: &str| Condition::ForeignDropIn {
        service: Service::Docker,
        file: file.to_owned(),
        values: proxy(url),
    };
    let conditions = [
        Condition::Configured(values()),
        drop_in("zz-b.conf", "http://b.example.com:1"),
        drop_in("zz-a.conf", "http://a.example.com:1"),
    ];
    let scene = Scene::with(Platform::AmazonLinux2, conditions);
    let observed = scene.observe();
    let effect_of = |file: &str| {
        let mut effects =
            observed.foreign.iter().filter(|source| source.path.ends_with(file)).map(|source| source.effect);
        let first = effects.next();
        assert!(first.is_some() && effects.all(|effect| Some(effect) == first), "{file}");
        first
    };
    assert_eq!(effect_of("zz-b.conf"), Some(ForeignEffect::Overrides));
    assert_eq!(effect_of("zz-a.conf"), Some(ForeignEffect::Inert));
    scene.apply(&crate::scene::present()).refused("conflict");
}

#[test]
fn an_unknown_system_says_so() {
    let scene = Scene::with(Platform::AmazonLinux2, [Condition::UnsupportedSystem]);
    assert_eq!(scene.observe_text(), "proxyfleet/1 observe unsupported ubuntu 22.04\nend\n");
}
