# What is on this host: the three truths of every setting, other sources of the same variables, and our own record.
#
# A truth is @{ State; Value } with the state set, malformed, unset, na (there is none), unknown, or unproven (something runs
# and it is not known with what).

# Everything, as @{ Services; Carriers; Settings; Foreign; Blocked; Record }:
#   Services  name -> state
#   Carriers  component -> @{ Row; Path; Syntax; Read }, missing where it cannot be told which one counts
#   Settings  list of @{ Row; Key; Kind; Carrier; Line; Running }, in the order of the catalogue
#   Foreign   list of @{ Component; Key; Kind; Path; Value }: other sources, none of which wins against our carriers
#   Blocked   list of @{ Component; Reason; Path }: why a carrier cannot be worked on
#   Record    lines of the record that are about these carriers
function Get-Facts {
    $facts = @{ Services = @{}; Carriers = @{}; Settings = New-List; Foreign = New-List; Blocked = New-List; Record = New-List }
    foreach ($service in $Services) { $facts.Services[$service.Name] = Get-ServiceState $service.Name }
    $docker = Read-Docker $facts.Services['docker']
    $started = @(Read-Notes $StartedFile)
    foreach ($row in $Components) {
        $carrier = Select-Carrier $row $docker $facts.Services
        if ($null -eq $carrier) {
            $facts.Blocked.Add(@{ Component = $row.Name; Reason = 'docker-version'; Path = $row.Carriers[0].Path })
        } else {
            $facts.Carriers[$row.Name] = $carrier
        }
        Add-Settings $facts $row $carrier $docker $started
        if ($null -ne $carrier) { Add-Rivals $facts $row $carrier }
    }
    $names = @(foreach ($carrier in $facts.Carriers.Values) { Get-RecordName $carrier.Row $carrier })
    foreach ($line in Read-Record) {
        if ($names -ccontains $line.Component) {
            $line.Component = $line.Component.Split(':')[0]
            $facts.Record.Add($line)
        }
    }
    $facts
}

# The first 32 hexadecimal digits of the digest of a text.
function Get-Digest([string]$Text) {
    $hash = [Security.Cryptography.SHA256]::Create()
    $bytes = $hash.ComputeHash((New-Object Text.UTF8Encoding $false).GetBytes($Text))
    [BitConverter]::ToString($bytes).Replace('-', '').ToLowerInvariant().Substring(0, 32)
}

# The carrier that counts for a component and what it holds; $null where that depends on a version which cannot be told.
function Select-Carrier($Row, $Docker, $States) {
    $chosen = $Row.Carriers[0]
    if ($Row.Carriers.Count -gt 1 -and $States[$Row.Service] -ne 'absent') {
        if ($Docker.Major -eq 0) { return $null }
        # `proxies` in daemon.json came with Docker 23.
        if ($Docker.Major -lt 23) { $chosen = $Row.Carriers[1] }
    }
    $carrier = @{ Row = $Row; Path = $chosen.Path; Syntax = $chosen.Syntax }
    $carrier.Read = Read-Carrier $carrier (Get-Keys $Row)
    $carrier
}

# The keys of a component.
function Get-Keys($Row) {
    foreach ($setting in $Row.Settings) { $setting.Key }
}

# Adds the settings of one component to the facts.
function Add-Settings($Facts, $Row, $Carrier, $Docker, $Started) {
    $reason = ''
    if ($null -ne $Carrier) { $reason = $Carrier.Read.Reason }
    foreach ($setting in $Row.Settings) {
        $found = @{ State = 'unknown'; Value = ''; Line = $null }
        if ($null -ne $Carrier -and $reason -eq '') {
            try {
                $found = Get-CarrierSetting $Carrier.Syntax $Carrier.Read.Content $setting.Key
            } catch {
                $reason = Get-Unsupported $_
            }
        }
        $Facts.Settings.Add(@{
            Row = $Row; Key = $setting.Key; Kind = $setting.Kind; Line = $found.Line
            Carrier = @{ State = $found.State; Value = "$($found.Value)" }
            Running = Get-Running $Row $setting.Key $found $Facts.Services $Docker $Started
        })
    }
    if ($reason -ne '') { $Facts.Blocked.Add(@{ Component = $Row.Name; Reason = $reason; Path = $Carrier.Path }) }
}

# The reason in an error of the functions for carriers; any other error goes on.
function Get-Unsupported($Failure) {
    if ($Failure.Exception.Message -cnotmatch '^unsupported ([a-z-]+)$') { throw $Failure }
    $Matches[1]
}

# What the process behind a component was started with, where its carrier has the setting found.
function Get-Running($Row, [string]$Key, $Found, $States, $Docker, $Started) {
    $truth = @{ State = 'na'; Value = '' }
    if ($Row.Service -eq '' -or $States[$Row.Service] -ne 'active') { return $truth }
    if ($Row.Probe -eq 'hidden') {
        $truth.State = 'unknown'
    } elseif ($Row.Probe -eq 'docker-info') {
        $truth.State = 'unset'
        if ($Docker.Values.ContainsKey($Key)) { $truth = @{ State = 'set'; Value = $Docker.Values[$Key] } }
        if (-not $Docker.Answers) { $truth.State = 'unknown' }
    } elseif ($Row.Probe -eq 'start-record') {
        $truth.State = 'unproven'
        $noted = Find-Started $Started $Row.Name $Key
        if ($null -ne $noted -and $noted.State -ceq $Found.State -and [string]::Equals($noted.Value, "$($Found.Value)")) {
            $truth = $noted
        }
    }
    $truth
}

# Adds what else sets the variables of a component, and what on its command line stands in the way of its carrier.
function Add-Rivals($Facts, $Row, $Carrier) {
    foreach ($rival in $Row.Rivals) {
        if ($rival.Path -eq $Carrier.Path) { continue }
        if ($rival.Kind -eq 'command-line') {
            if ($Carrier.Syntax -eq 'daemon-json') { Add-CommandLine $Facts $Row $rival.Path }
            continue
        }
        $syntax = @{ 'service-environment' = 'multi-sz'; 'machine-variables' = 'machine' }[$rival.Kind]
        $read = Read-Carrier @{ Path = $rival.Path; Syntax = $syntax } (Get-Keys $Row)
        foreach ($setting in $Row.Settings) {
            try {
                $found = Get-CarrierSetting $syntax $read.Content $setting.Key
            } catch {
                break
            }
            if ($found.State -eq 'unset') { continue }
            $Facts.Foreign.Add(@{
                Component = $Row.Name; Key = $setting.Key; Kind = $setting.Kind; Path = $rival.Path; Value = "$($found.Value)"
            })
        }
    }
}

# Adds what the command line of Docker's service has against daemon.json: with the same setting in both Docker does not
# start, and with another file it does not read this one.
function Add-CommandLine($Facts, $Row, [string]$Path) {
    $at = $Path.LastIndexOf('\')
    $key = Open-Key $Path.Substring(0, $at) $false
    if ($null -eq $key) { return }
    $line = "$($key.GetValue($Path.Substring($at + 1), '', 'DoNotExpandEnvironmentNames'))"
    $key.Close()
    foreach ($option in @('flag', '(http|https|no)-proxy'), @('other-config-file', 'config-file')) {
        if ($line -cmatch "(^|[\s""])--$($option[1])($|[=\s""])") {
            $Facts.Blocked.Add(@{ Component = $Row.Name; Reason = $option[0]; Path = $Path })
        }
    }
}
