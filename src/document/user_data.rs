//! User data: the script with which a new instance is born with the settings of a policy.
//!
//! It is made of the same catalogue and, but for `sh/boot.sh` and `ps1/boot.ps1`, of the same sources as the apply documents.
//! cloud-init runs a boothook at every boot, before Docker and the ECS agent start; `EC2Launch` runs `PowerShell` at every boot
//! where the user data asks for it, some time after services that start by themselves. The script also repairs what was
//! changed since, and may be run by hand.

use super::pack::packed;
use super::shrink::shrunk;
use super::{powershell, script};
use crate::catalog::{Component, Init, Platform, ProxyValues};
use crate::policy::{DockerRestart, PolicyName};

/// The largest user data that EC2 accepts, in bytes before base64.
pub const MAX_USER_DATA_BYTES: usize = 16 * 1024;

/// What an instance is to be born with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserDataRequest {
    /// The values to write.
    pub values: ProxyValues,
    /// The components to write them for. Those that the platform does not have are left out.
    pub components: Vec<Component>,
    /// Whether Docker may be restarted where it already runs.
    pub docker_restart: DockerRestart,
    /// The policy that asks for it; the instance keeps the name in its record.
    pub policy: PolicyName,
    /// The ECS cluster to join, where the instance does not name one itself.
    pub cluster: Option<ClusterName>,
}

/// The name of an ECS cluster: 1 to 255 letters, digits, dashes and underscores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterName(String);

impl ClusterName {
    /// Checks and wraps a name.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=255).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        fits.then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why there is no user data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserDataError {
    /// Nothing to write.
    #[error("none of the components is there on {}", platform.table().title)]
    NoComponent {
        /// The platform that has none of them.
        platform: Platform,
    },
    /// User data of several parts is cloud-init's.
    #[error("user data for {} cannot be a part of a MIME message", platform.table().title)]
    NoParts {
        /// The platform.
        platform: Platform,
    },
    /// EC2 would refuse it.
    #[error("the user data has {bytes} bytes, EC2 accepts {MAX_USER_DATA_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// What user data is wanted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserDataForm {
    /// The whole user data of an instance.
    Whole,
    /// One part of a MIME multi-part message, headers included: for user data that has other parts as well.
    MimePart,
    /// The script that the others hold packed, for reading. It does the same, but is too large for EC2.
    Script,
}

/// The user data for instances of `platform`.
///
/// # Errors
/// Where there is nothing to write, where EC2 would refuse it as too large, and where the platform knows no such form.
pub fn user_data(platform: Platform, request: &UserDataRequest, form: UserDataForm) -> Result<String, UserDataError> {
    let components: Vec<Component> =
        request.components.iter().copied().filter(|component| platform.component(*component).is_some()).collect();
    if components.is_empty() {
        return Err(UserDataError::NoComponent { platform });
    }
    let text = match (platform.table().init, form) {
        (Init::Systemd | Init::Upstart, _) => boothook(platform, request, &components, form),
        (Init::ServiceManager, UserDataForm::MimePart) => return Err(UserDataError::NoParts { platform }),
        (Init::ServiceManager, UserDataForm::Whole) => for_ec2launch(platform, request, &components),
        (Init::ServiceManager, UserDataForm::Script) => {
            head(platform, request, &powershell_parameters(request, &components))
                + &powershell::boot().join("\n")
                + "\n"
        }
    };
    if form != UserDataForm::Script && text.len() > MAX_USER_DATA_BYTES {
        return Err(UserDataError::TooLarge { bytes: text.len() });
    }
    Ok(text)
}

/// What a part of this kind begins with in a multi-part message.
const BOOTHOOK_HEADERS: &str = "\
Content-Type: text/cloud-boothook; charset=\"us-ascii\"
MIME-Version: 1.0
Content-Transfer-Encoding: 7bit
Content-Disposition: attachment; filename=\"proxyfleet\"

";

/// User data for cloud-init on Linux. The values stand in it as they are; the script behind them is packed, or it would be
/// larger than EC2 allows.
fn boothook(platform: Platform, request: &UserDataRequest, components: &[Component], form: UserDataForm) -> String {
    let script = script::boot(platform).join("\n") + "\n";
    let headers = if form == UserDataForm::MimePart { BOOTHOOK_HEADERS } else { "" };
    // cloud-init takes the first line away and runs the rest.
    let kind = if form == UserDataForm::Script { "" } else { "#cloud-boothook\n" };
    let tail = if form == UserDataForm::Script { script } else { unpacking(&script) };
    format!(
        "{headers}{kind}#!/bin/sh\n{}{tail}",
        head(
            platform,
            request,
            &format!(
                "# shellcheck disable=SC2034  # The script behind these values reads them.\n{}",
                shell_parameters(request, components)
            )
        ),
    )
}

/// A script that unpacks `script` and goes on as it.
fn unpacking(script: &str) -> String {
    format!(
        "# To read what is packed: proxyfleet render user-data --as script\n\
        SCRIPT=$(base64 -d <<'END' | gzip -dc\n\
        {}END\n\
        ) || {{\n \
        echo 'proxyfleet: nothing changed: the script could not be unpacked by base64 and gzip' >&2\n \
        exit 1\n\
        }}\n\
        eval \"$SCRIPT\"\n",
        packed(script)
    )
}

/// User data for `EC2Launch`: a script, and that it runs at every boot.
fn for_ec2launch(platform: Platform, request: &UserDataRequest, components: &[Component]) -> String {
    let script = shrunk(&powershell::boot(), &POWERSHELL_PARAMETERS).join("\n") + "\n";
    format!(
        "<powershell>\n{}\
        # What is packed, with longer names: proxyfleet render user-data --as script\n\
        $Packed = @'\n{}'@\n\
        try {{\n \
        $Packed = New-Object IO.MemoryStream (, [Convert]::FromBase64String($Packed))\n \
        $Script = (New-Object IO.StreamReader (New-Object IO.Compression.GZipStream $Packed, 'Decompress')).ReadToEnd()\n \
        if ($Script.Length -ne {}) {{ throw }}\n\
        }} catch {{\n \
        [Console]::Error.WriteLine('proxyfleet: nothing changed: the script could not be unpacked')\n \
        exit 1\n\
        }}\n\
        . ([scriptblock]::Create($Script))\n\
        </powershell>\n<persist>true</persist>\n",
        head(platform, request, &powershell_parameters(request, components)),
        packed(&script),
        script.len(),
    )
}

/// What every script begins with.
fn head(platform: Platform, request: &UserDataRequest, parameters: &str) -> String {
    let title = platform.table().title;
    format!(
        "# The proxy settings of policy {} for {title}, made by proxyfleet. Runs at every boot, and by hand.\n{parameters}",
        request.policy
    )
}

/// The variables of `sh/boot.sh`.
fn shell_parameters(request: &UserDataRequest, components: &[Component]) -> String {
    let names: Vec<&str> = components.iter().map(|component| component.name()).collect();
    [
        ("WANT_HTTP", request.values.http.as_str()),
        ("WANT_HTTPS", &request.values.https),
        ("WANT_BYPASS", &request.values.bypass),
        ("REQUESTED", &names.join(" ")),
        ("DOCKER_RESTART", request.docker_restart.name()),
        ("POLICY", request.policy.as_str()),
        ("CLUSTER", request.cluster.as_ref().map_or("", ClusterName::as_str)),
    ]
    .map(|(name, value)| format!("{name}={}\n", quoted(value)))
    .concat()
}

/// The variables that `ps1/boot.ps1` finds set.
const POWERSHELL_PARAMETERS: [&str; 7] =
    ["WantHttp", "WantHttps", "WantBypass", "Requested", "DockerRestart", "Policy", "Cluster"];

/// Their assignments.
fn powershell_parameters(request: &UserDataRequest, components: &[Component]) -> String {
    let names: Vec<String> = components.iter().map(|component| powershell::quoted(component.name())).collect();
    let text = powershell::quoted;
    let values = [
        text(&request.values.http),
        text(&request.values.https),
        text(&request.values.bypass),
        format!("@({})", names.join(", ")),
        text(request.docker_restart.name()),
        text(request.policy.as_str()),
        text(request.cluster.as_ref().map_or("", ClusterName::as_str)),
    ];
    let lines: Vec<String> =
        POWERSHELL_PARAMETERS.iter().zip(values).map(|(name, value)| format!("${name} = {value}\n")).collect();
    lines.concat()
}

/// A text as one word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
