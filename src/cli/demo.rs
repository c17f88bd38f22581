//! `demo`: the whole story on an embedded fleet. Everything but the headings is printed by the code that serves real fleets.

use super::args::{Demo, Format, Global};
use super::error::CliError;
use super::telling::Telling;
use super::{Exit, apply, gather, sim};
use crate::aws::{Session, SessionOptions};
use crate::catalog::{Component, Key};
use crate::fleet::InstanceId;
use crate::plan::Plan;
use crate::policy::{PolicySet, SourceFile, load};
use crate::report::{Screen, chapter_text, plan_text, scope_text, summary_text, validated_text};
use crate::rollout::Adopted;
use crate::sim::{Sim, SimOptions};

/// The example policies of the repository.
const POLICIES: [(&str, &str); 3] = [
    ("policies/ecs-development.yaml", include_str!("../../policies/ecs-development.yaml")),
    ("policies/ecs-production.yaml", include_str!("../../policies/ecs-production.yaml")),
    ("policies/retired/batch-workers.yaml", include_str!("../../policies/retired/batch-workers.yaml")),
];

pub(super) async fn run(options: &Demo, global: &Global, screen: Screen) -> Result<Exit, CliError> {
    if global.format == Format::Json {
        return Err(CliError::DemoHasNoJson);
    }
    let sim = sim::start(SimOptions { instances: options.instances, seed: options.seed, ..SimOptions::default() })?;
    let session =
        Session::open(&SessionOptions { endpoint_url: Some(sim.endpoint_url()), ..SessionOptions::default() }).await?;
    let demo = Story { session, sim, screen };
    demo.tell().await
}

struct Story {
    session: Session,
    sim: Sim,
    screen: Screen,
}

impl Story {
    async fn tell(&self) -> Result<Exit, CliError> {
        self.chapter("validate: are the policies right?");
        let files: Vec<SourceFile> = POLICIES
            .iter()
            .map(|(name, text)| SourceFile { name: (*name).to_owned(), text: (*text).to_owned() })
            .collect();
        let loaded = load(&files);
        if !loaded.diagnostics.is_empty() {
            return Err(CliError::Policies { files, diagnostics: loaded.diagnostics });
        }
        self.screen.result(&validated_text(files.len(), loaded.set.policies.len()));

        self.chapter("plan: what would change?");
        self.screen.say(&scope_text(self.session.scope()));
        let plan = self.plan(&loaded.set).await?;

        self.chapter("apply: change it, then observe again");
        self.apply(&plan).await?;

        self.chapter("plan again: nothing is left to do");
        self.plan(&loaded.set).await?;

        let edited = self.outside_edit(&plan)?;
        self.chapter(&format!("somebody edits a file on {edited}; plan finds the drift"));
        let plan = self.plan(&loaded.set).await?;

        self.chapter("apply repairs it, and nothing else");
        self.apply(&plan).await?;
        let plan = self.plan(&loaded.set).await?;
        Ok(if plan.groups.is_empty() { Exit::Success } else { Exit::NotConverged })
    }

    fn chapter(&self, title: &str) {
        self.screen.result(&chapter_text(title));
    }

    async fn plan(&self, set: &PolicySet) -> Result<Plan, CliError> {
        let mut telling = Telling::new(self.screen, false);
        let plan = gather::plan(&self.session, set, &gather::run_id(), &mut telling).await?;
        self.screen.result(&plan_text(&plan, self.screen.width));
        Ok(plan)
    }

    async fn apply(&self, plan: &Plan) -> Result<(), CliError> {
        let mut telling = Telling::new(self.screen, false);
        let summary =
            apply::carry_out(&self.session, plan, &gather::run_id(), Adopted::default(), self.screen, &mut telling)
                .await;
        self.screen.result(&summary_text(&summary, self.screen.width));
        if summary.converged() { Ok(()) } else { Err(CliError::DemoDidNotConverge) }
    }

    /// Edits the carrier of Docker on one host that the first apply changed, as a person with an editor would.
    fn outside_edit(&self, plan: &Plan) -> Result<InstanceId, CliError> {
        let group = plan
            .groups
            .iter()
            .find(|group| {
                plan.policies[group.policy].values.is_some() && group.work.components.contains(&Component::EcsAgent)
            })
            .ok_or(CliError::DemoDidNotConverge)?;
        let id = group.instances[0].id.clone();
        let row = group.platform.component(Component::EcsAgent).ok_or(CliError::DemoDidNotConverge)?;
        let host = self.sim.host(&id).ok_or(CliError::DemoDidNotConverge)?;
        let key = Key::HttpsProxy.name();
        host.outside_edit(row.carrier.path, |bytes| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let edited = text.lines().map(|line| {
                if line.starts_with(key) {
                    format!("{key}=http://proxy.example.net:8080\n")
                } else {
                    format!("{line}\n")
                }
            });
            *bytes = edited.collect::<String>().into_bytes();
        })
        .map_err(|source| CliError::Io { doing: format!("editing {} on {id}", row.carrier.path), source })?;
        Ok(id)
    }
}
