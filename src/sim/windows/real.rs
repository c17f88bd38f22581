//! Brings a real host into a state, and looks at one. Each takes one script.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use super::state::{
    DAEMON_JSON, HOME, LOCAL_SYSTEM_KEY, Look, MACHINE_KEY, RegValue, RegValues, ServiceLook, Settings, WindowsState,
    is_proxy_variable, service_key,
};
use super::winhost::{NOTES, RealHost, quoted};
use crate::catalog::{Platform, Service};

/// Functions for the scripts of this module. A registry path begins with `HKLM\` or `HKU\`.
const FUNCTIONS: &str = r"
$names = @{ 'docker' = 'Docker Engine'; 'AmazonECS' = 'Amazon ECS'; 'AmazonSSMAgent' = 'Amazon SSM Agent' }
function Open-Key($Path, $Create) {
    $hive, $rest = $Path.Split([char[]]'\', 2)
    $root = [Microsoft.Win32.Registry]::LocalMachine
    if ($hive -eq 'HKU') { $root = [Microsoft.Win32.Registry]::Users }
    if ($Create) { $root.CreateSubKey($rest) } else { $root.OpenSubKey($rest) }
}
function Set-It($Path, $Name, $Kind, $Value) {
    $key = Open-Key $Path $true
    $key.DeleteValue($Name, $false)
    $key.SetValue($Name, $Value, [Microsoft.Win32.RegistryValueKind]$Kind)
    $key.Close()
}
function Clear-It($Path, [string[]]$Keep) {
    $key = Open-Key $Path $true
    foreach ($name in $key.GetValueNames()) { if ($Keep -notcontains $name) { $key.DeleteValue($name) } }
    $key.Close()
}
function Remove-It($Path, $Name) {
    $key = Open-Key $Path $false
    if ($null -ne $key) { $key.Close(); $key = Open-Key $Path $true; $key.DeleteValue($Name, $false); $key.Close() }
}
function Stop-Quietly($Name) { if (Get-Service -Name $Name -ErrorAction SilentlyContinue) { Stop-Service -Name $Name -Force } }
";

/// Variables of the machine that belong to Windows itself, here also for the sake of wine.
const STOCK: &str = "'ComSpec','NUMBER_OF_PROCESSORS','OS','PATH','PATHEXT','PROCESSOR_ARCHITECTURE',\
    'PROCESSOR_IDENTIFIER','PROCESSOR_LEVEL','PROCESSOR_REVISION','PSModulePath','TEMP','TMP','windir','winsysdir'";

impl RealHost {
    /// Brings the host into `state`, whatever it was in before, and sets the counts of starts to none.
    pub fn put(&self, state: &WindowsState) -> io::Result<()> {
        if self.take_rebooted() {
            // What the services inherit goes only with another start of the machine.
            self.shell(&format!("{FUNCTIONS}\n{}", clear_variables()))?;
            self.start_anew()?;
        }
        let before = state.before.as_ref().unwrap_or(&state.now);
        self.put_file(DAEMON_JSON, before.daemon_json.as_deref())?;
        self.set_docker_version(&state.docker_version)?;
        self.shell(&put_script(state, before))?;
        self.put_file(DAEMON_JSON, state.now.daemon_json.as_deref())?;
        remove_folder(&self.at(HOME))?;
        for (path, bytes) in &state.files {
            self.write(path, bytes)?;
        }
        for service in Platform::Windows.table().services {
            self.put_file(&format!(r"{NOTES}\{}.starts", service.1), None)?;
        }
        Ok(())
    }

    /// What an operator sees on the host.
    pub fn look(&self) -> io::Result<Look> {
        let mut look = Look::default();
        let mut states = BTreeMap::new();
        for line in self.shell(&look_script())?.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields[..] {
                ["value", path, name, kind, value] => {
                    let path = format!(r"{path}\{}", decoded(name)?);
                    look.registry.insert(path, reg_value(kind, value)?);
                }
                ["service", name, state] => {
                    states.insert(name.to_owned(), state == "Running");
                }
                _ => return Err(io::Error::other(format!("a line that is not understood: {line}"))),
            }
        }
        for (service, name) in Platform::Windows.table().services {
            let Some(&running) = states.get(*name) else { continue };
            let environment = if running { self.environment(name) } else { Vec::new() };
            let proxies: BTreeSet<String> = environment.iter().filter_map(|line| proxy_variable(line)).collect();
            look.services.insert(*service, ServiceLook { running, starts: self.starts(name), proxies });
        }
        if look.services.get(&Service::Docker).is_some_and(|docker| docker.running) {
            let loaded = self.read(&format!(r"{NOTES}\docker.proxies"))?;
            look.docker = String::from_utf8_lossy(&loaded).lines().map(str::to_owned).collect();
        }
        for folder in [HOME, r"C:\ProgramData\docker"] {
            collect_files(&self.at(folder), folder, &mut look.files)?;
        }
        Ok(look)
    }

    fn put_file(&self, path: &str, bytes: Option<&[u8]>) -> io::Result<()> {
        match bytes {
            Some(bytes) => self.write(path, bytes),
            None => match fs::remove_file(self.at(path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }
}

fn put_script(state: &WindowsState, before: &Settings) -> String {
    let mut script = FUNCTIONS.to_owned();
    let table = Platform::Windows.table();
    for (_, name) in table.services.iter().rev() {
        let _ = writeln!(script, "Stop-Quietly {}", quoted(name));
    }
    for (service, _) in table.services {
        script += &service_lines(*service, state);
    }
    script += &clear_variables();
    let build = quoted(state.build());
    let current = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion";
    for name in ["CurrentBuildNumber", "CurrentBuild"] {
        let _ = writeln!(script, "Set-It '{current}' {name} String {build}");
    }
    script += &settings_lines(state, before);
    for (service, name) in table.services {
        if state.services.get(service).is_some_and(|spec| spec.running) {
            let _ = writeln!(script, "Start-Service -Name {}", quoted(name));
        }
    }
    if state.before.is_some() {
        script += &clear_variables();
        script += &settings_lines(state, &state.now);
    }
    for (service, spec) in &state.services {
        let _ = writeln!(script, "Set-It '{}' Start DWord {}", service_key(*service), spec.start.number());
    }
    script
}

/// Makes or removes the key of a service.
fn service_lines(service: Service, state: &WindowsState) -> String {
    let key = service_key(service);
    if !state.services.contains_key(&service) {
        let inside = key.trim_start_matches(r"HKLM\");
        return format!("[Microsoft.Win32.Registry]::LocalMachine.DeleteSubKeyTree('{inside}', $false)\n");
    }
    let name = Platform::Windows.table().service_name(service);
    let options = if service == Service::Docker { state.docker_options.as_str() } else { "" };
    let image = quoted(format!(r"C:\winhost\service-stub.exe {options}").trim_end());
    let mut lines = format!(
        "Set-It '{key}' ImagePath ExpandString {image}\nSet-It '{key}' DisplayName String $names['{name}']\n\
         Set-It '{key}' ObjectName String 'LocalSystem'\nSet-It '{key}' Type DWord 16\n\
         Set-It '{key}' Start DWord 2\nSet-It '{key}' ErrorControl DWord 1\n"
    );
    if service == Service::Ecs {
        let _ = writeln!(lines, "Set-It '{key}' DependOnService MultiString ([string[]]@('docker'))");
    }
    lines
}

fn clear_variables() -> String {
    format!("Clear-It '{MACHINE_KEY}' @({STOCK})\nClear-It '{LOCAL_SYSTEM_KEY}' @()\n")
}

fn settings_lines(state: &WindowsState, settings: &Settings) -> String {
    let mut lines = String::new();
    for service in state.services.keys() {
        let key = service_key(*service);
        match settings.environments.get(service) {
            Some(value) => lines += &set_line(&key, "Environment", value),
            None => {
                let _ = writeln!(lines, "Remove-It '{key}' Environment");
            }
        }
    }
    let variables = |key: &str, values: &RegValues| -> String {
        values.iter().map(|(name, value)| set_line(key, name, value)).collect()
    };
    lines + &variables(MACHINE_KEY, &settings.machine) + &variables(LOCAL_SYSTEM_KEY, &settings.local_system)
}

fn set_line(key: &str, name: &str, value: &RegValue) -> String {
    let text = match value {
        RegValue::Sz(text) | RegValue::ExpandSz(text) => quoted(text),
        RegValue::MultiSz(strings) => {
            let strings: Vec<String> = strings.iter().map(|string| quoted(string)).collect();
            format!("([string[]]@({}))", strings.join(","))
        }
        RegValue::Dword(number) => number.to_string(),
    };
    format!("Set-It '{key}' {} {} {text}\n", quoted(name), value.kind())
}

fn look_script() -> String {
    let table = Platform::Windows.table();
    let mut script = format!(
        "{FUNCTIONS}\n{}",
        r"
$utf8 = New-Object System.Text.UTF8Encoding($false)
function Encode($Text) { [Convert]::ToBase64String($utf8.GetBytes([string]$Text)) }
function Show-Key($Path, [string[]]$Only, [string[]]$Less) {
    $key = Open-Key $Path $false
    if ($null -eq $key) { return }
    foreach ($name in $key.GetValueNames()) {
        if ($Less -contains $name -or ($Only.Count -gt 0 -and $Only -notcontains $name)) { continue }
        $value = $key.GetValue($name, $null, [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
        $texts = @($value | ForEach-Object { Encode $_ })
        @('value', $Path, (Encode $name), [string]$key.GetValueKind($name), ($texts -join ',')) -join [string][char]9
    }
    $key.Close()
}
"
    );
    for (service, name) in table.services {
        let key = service_key(*service);
        let _ = writeln!(script, "Show-Key '{key}' @('Environment','ImagePath','Start') @()");
        let _ = writeln!(
            script,
            "$service = Get-Service -Name {} -ErrorAction SilentlyContinue\n\
             if ($service) {{ @('service', '{name}', [string]$service.Status) -join [string][char]9 }}",
            quoted(name)
        );
    }
    let _ = writeln!(script, "Show-Key '{MACHINE_KEY}' @() @({STOCK})\nShow-Key '{LOCAL_SYSTEM_KEY}' @() @()");
    script
}

fn reg_value(kind: &str, value: &str) -> io::Result<RegValue> {
    Ok(match kind {
        "String" => RegValue::Sz(decoded(value)?),
        "ExpandString" => RegValue::ExpandSz(decoded(value)?),
        "MultiString" if value.is_empty() => RegValue::MultiSz(Vec::new()),
        "MultiString" => RegValue::MultiSz(value.split(',').map(decoded).collect::<io::Result<_>>()?),
        "DWord" => RegValue::Dword(decoded(value)?.parse().map_err(io::Error::other)?),
        _ => return Err(io::Error::other(format!("a registry value of kind {kind}"))),
    })
}

/// The text behind BASE64 of UTF-8.
fn decoded(text: &str) -> io::Result<String> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = DIGITS.iter().position(|known| *known == byte).ok_or_else(|| io::Error::other("not BASE64"))?;
        bits = (bits << 6) | u32::try_from(digit).unwrap_or_default();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).unwrap_or_default());
        }
    }
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// `NAME=value` with the name in upper case, where it is a variable for a proxy.
fn proxy_variable(line: &str) -> Option<String> {
    let (name, value) = line.split_once('=')?;
    is_proxy_variable(name).then(|| format!("{}={value}", name.to_ascii_uppercase()))
}

fn collect_files(folder: &Path, name: &str, files: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let path = format!(r"{name}\{}", entry.file_name().to_string_lossy());
        if path == format!(r"{HOME}\backup") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect_files(&entry.path(), &path, files)?;
        } else {
            files.insert(path, fs::read(entry.path())?);
        }
    }
    Ok(())
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
