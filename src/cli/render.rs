//! `render`: what a policy makes of an instance, without one.

use super::args::{
    Format, Global, PolicyOnPlatform, Render, RenderDocument, RenderFiles, RenderUserData, UserDataForm,
};
use super::error::CliError;
use super::{Exit, policies};
use crate::catalog::ProxyValues;
use crate::document::{self, UserDataRequest, rendered_files, user_data};
use crate::policy::Policy;
use crate::report::{Screen, files_json, files_text, user_data_json};

pub(super) fn run(what: &Render, global: &Global, screen: Screen) -> Result<Exit, CliError> {
    match what {
        Render::UserData(options) => of_user_data(options, global, screen),
        Render::Files(options) => of_files(options, global, screen),
        Render::Document(options) => of_document(options, screen),
    }
}

fn of_user_data(options: &RenderUserData, global: &Global, screen: Screen) -> Result<Exit, CliError> {
    let (policy, values) = wanted(&options.what, global, screen)?;
    let request = UserDataRequest {
        values,
        components: policy.components.clone(),
        docker_restart: policy.docker_restart,
        policy: policy.name.clone(),
        cluster: options.cluster.clone(),
    };
    let form = match options.form {
        UserDataForm::Whole => document::UserDataForm::Whole,
        UserDataForm::MimePart => document::UserDataForm::MimePart,
        UserDataForm::Script => document::UserDataForm::Script,
    };
    let text = user_data(options.what.platform, &request, form)?;
    match global.format {
        Format::Text => screen.result(&text),
        Format::Json => {
            let json = user_data_json(policy.name.as_str(), options.what.platform, &text);
            screen.result(&format!("{json:#}"));
        }
    }
    Ok(Exit::Success)
}

fn of_files(options: &RenderFiles, global: &Global, screen: Screen) -> Result<Exit, CliError> {
    let (policy, values) = wanted(&options.what, global, screen)?;
    let platform = options.what.platform;
    let files = rendered_files(platform, &values, &policy.components);
    match global.format {
        Format::Text => screen.result(&files_text(policy.name.as_str(), platform, &values, &files)),
        Format::Json => screen.result(&format!("{:#}", files_json(policy.name.as_str(), platform, &values, &files))),
    }
    Ok(Exit::Success)
}

/// A document is JSON, whatever the format of results.
fn of_document(options: &RenderDocument, screen: Screen) -> Result<Exit, CliError> {
    let document = match options.platform {
        None => document::observe(),
        Some(platform) => document::all()
            .into_iter()
            .find(|document| document.platform == Some(platform))
            .ok_or(CliError::NoDocument { platform })?,
    };
    screen.result(&document.content);
    Ok(Exit::Success)
}

/// The policy that is meant, and what it writes.
fn wanted(what: &PolicyOnPlatform, global: &Global, screen: Screen) -> Result<(Policy, ProxyValues), CliError> {
    let set = policies::read_for_a_run(&what.policies.paths, global.format == Format::Json, screen)?;
    let Some(policy) = set.get(&what.policy) else {
        let known = set.policies.iter().map(|policy| policy.name.to_string()).collect();
        return Err(CliError::NoPolicy { name: what.policy.clone(), known });
    };
    if !policy.targets.platforms.contains(&what.platform) {
        let targets = policy.targets.platforms.clone();
        return Err(CliError::NotTargeted { policy: policy.name.clone(), platform: what.platform, targets });
    }
    match policy.state.values() {
        Some(values) => Ok((policy.clone(), values)),
        None => Err(CliError::NothingToWrite { policy: policy.name.clone() }),
    }
}
