# Makes the proxy settings of this host equal to the policy while it boots, or at any later time, restarts what already runs
# with other ones, and lets the host join its cluster. Unlike an apply it goes on where one component cannot be changed: a
# host that comes up with some of its settings is better than one that comes up with none.

$WantState = 'present'
# Seconds to wait for an apply that is at work, and for services to come up.
$LockSeconds = 60
$VerifySeconds = 60
if ("$env:PROXYFLEET_ROUTE" -ne '' -and "$env:PROXYFLEET_WAIT" -cmatch '^[0-9]{1,3}$') {
    $LockSeconds = [int]$env:PROXYFLEET_WAIT
    $VerifySeconds = $LockSeconds
}

# What the functions below share.
#   Wanted    components that the policy governs
#   Facts     what is known of those that can be worked on, as far as the functions of an apply ask for it
#   Decision  what they decided            Refused   component -> why it cannot be worked on
#   Record    the record as it was         Lines     what is added to it
#   Written   carriers that were changed   Changed   names of their components
#   Ran       services that ran            Started   services that were started
#   Deferred  service to restart later     Failed    whether something was not done
$Run = @{
    Wanted = $Requested; Facts = $null; Decision = $null; Refused = $null; Record = @(); Lines = @(); Written = @()
    Changed = @(); Ran = @(); Started = @(); Deferred = ''; Failed = $false
}

# Says what was not done and why. EC2Launch keeps what is said here in its log.
function Write-Complaint([string]$Text) {
    [Console]::Error.Write((ConvertTo-Printable "proxyfleet: $Text") + "`n")
    $Run.Failed = $true
}

# Ends.
function Stop-Boot {
    if ($null -ne $Lock) { $Lock.Dispose() }
    exit ([int]$Run.Failed)
}

# Ends before anything was changed.
function Stop-Refused([string]$Reason, [string]$Text) {
    Write-Complaint "nothing changed: $Reason $Text"
    Stop-Boot
}

# Looks at the requested components and decides what has to be done about them.
function Get-Work {
    $facts = @{ Services = @{}; Carriers = @{}; Settings = New-List; Blocked = New-List; Record = New-List }
    foreach ($service in $Services) { $facts.Services[$service.Name] = Get-ServiceState $service.Name }
    $docker = Read-Docker $facts.Services['docker']
    $started = @(Read-Notes $StartedFile)
    $Run.Facts = $facts
    $Run.Decision = @{ Edits = New-List; Record = New-List; Restart = @{}; Proven = @() }
    $Run.Refused = @{}
    foreach ($row in $Components) {
        if ($Requested -cnotcontains $row.Name) { continue }
        $facts.Settings.Clear()
        $reason = Add-Component $row $docker $started
        if ($reason -ne '') {
            $Run.Refused[$row.Name] = $reason
            continue
        }
        foreach ($setting in $facts.Settings) {
            Add-Present $Run.Decision $facts $setting @(Get-Written $facts $setting)
        }
    }
}

# Adds one component to the facts. Returns why nothing can be done about it, or nothing.
function Add-Component($Row, $Docker, $Started) {
    $facts = $Run.Facts
    if ($facts.Services[$Row.Service] -eq 'absent') { return 'component-absent' }
    $carrier = Select-Carrier $Row $Docker $facts.Services
    if ($null -eq $carrier) { return "unsupported docker-version $($Row.Carriers[0].Path)" }
    $facts.Carriers[$Row.Name] = $carrier
    $facts.Blocked.Clear()
    Add-Settings $facts $Row $carrier $Docker $Started
    foreach ($rival in $Row.Rivals) {
        if ($rival.Kind -eq 'command-line' -and $carrier.Syntax -eq 'daemon-json') { Add-CommandLine $facts $Row $rival.Path }
    }
    foreach ($block in $facts.Blocked) { return "unsupported $($block.Reason) $($block.Path)" }
    # What is not known is no reason to restart anything.
    foreach ($setting in $facts.Settings) { if ($setting.Running.State -eq 'unknown') { return 'unreadable' } }
    foreach ($line in Read-Record) {
        if ($line.Component -cne (Get-RecordName $Row $carrier)) { continue }
        $line.Component = $Row.Name
        $facts.Record.Add($line)
    }
    ''
}

# Brings the new content of every carrier into place. One that cannot be changed is left alone.
function Write-Changes {
    $Run.Lines = $Run.Decision.Record.ToArray()
    # A crash must not make us forget.
    if ($Run.Lines.Count -gt 0) { Write-Notes $RecordFile ($Run.Record + $Run.Lines) }
    foreach ($row in $Components) {
        $edits = @($Run.Decision.Edits | Where-Object { $_.Component -ceq $row.Name })
        if ($edits.Count -eq 0) { continue }
        $carrier = $Run.Facts.Carriers[$row.Name]
        $reason = Write-Change $carrier $edits
        if ($reason -eq '') {
            $Run.Written += $carrier
        } else {
            Remove-Component $row "$reason $($carrier.Path)"
        }
    }
}

# Gives a carrier its new content. Returns why that is not possible, or nothing.
function Write-Change($Carrier, $Edits) {
    try {
        $new = Edit-Carrier $Carrier.Syntax $Carrier.Read.Content $Edits
    } catch {
        return "unsupported $(Get-Unsupported $_)"
    }
    # What somebody else wrote since we looked must not be lost.
    if (-not (Test-Unchanged $Carrier (Get-Keys $Carrier.Row) $Carrier.Read)) { return 'changed-meanwhile' }
    try {
        if ($Carrier.Syntax -eq 'daemon-json') { [void][IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($Carrier.Path)) }
        Write-Carrier $Carrier $Carrier.Read.Content $new
    } catch {
        return 'not-writable'
    }
    ''
}

# Says why a component was not changed and leaves it out from now on; the record has of it what it had before.
function Remove-Component($Row, [string]$Reason) {
    Write-Complaint "$($Row.Name) not changed: $Reason"
    $Run.Wanted = @($Run.Wanted | Where-Object { $_ -cne $Row.Name })
    $script:Requested = @($Requested | Where-Object { $_ -cne $Row.Name })
    $Run.Decision.Restart.Remove($Row.Service)
    $lines = @($Run.Lines | Where-Object { $_ -cnotmatch "^$($Row.Name)[:`t]" })
    if ($lines.Count -lt $Run.Lines.Count) { Write-Notes $RecordFile ($Run.Record + $lines) }
    $Run.Lines = $lines
}

# Whether docker may be restarted. Where no container runs that stops nobody's task, so there is nothing to defer; at a first
# boot that is always so.
function Test-MayRestart {
    if ($DockerRestart -eq 'allow') { return $true }
    $containers = Invoke-Docker 'ps -q'
    $null -ne $containers -and $containers.Trim() -eq ''
}

# Restarts what runs with other values, docker first. An agent that is about to be started otherwise is not started here.
function Restart-Stale([string]$Way) {
    $restart = $Run.Decision.Restart
    $ecs = $Run.Facts.Services['ecs']
    $needs = @($Run.Written | Where-Object { $_.Row.Service -eq 'ecs' }).Count -gt 0
    $along = $false
    if ($restart['docker']) {
        $needs = $true
        $Run.Started += 'docker'
        $along = $ecs -eq 'active' -and (Test-GoesAlong 'ecs')
        [void](Restart-Docker)
    }
    if ($along -or ($needs -and $ecs -eq 'due' -and $Way -eq '' -and $Run.Ran -contains 'docker')) {
        $Run.Started += 'ecs'
        [void](Start-One 'ecs')
    } elseif ($restart['ecs']) {
        $Run.Started += 'ecs'
        [void](Restart-One 'ecs')
    }
}

# Waits until everything is as decided; returns the services that are not, after the time is over.
function Wait-Services {
    $end = [DateTime]::UtcNow.AddSeconds($VerifySeconds)
    while ($true) {
        Get-Work
        $late = @(
            foreach ($name in 'docker', 'ecs') {
                $down = ($Run.Ran + $Run.Started) -contains $name -and $Run.Facts.Services[$name] -ne 'active'
                # A restart of docker can take the agent down after we looked.
                if ($down) { [void](Start-One $name) }
                # What cannot be told yet is no answer.
                $wrong = $Run.Decision.Restart[$name] -or ($name -eq 'docker' -and $Run.Refused['docker'])
                if ($down -or ($wrong -and $Run.Deferred -ne $name)) { $name }
            }
        )
        if ($late.Count -eq 0 -or [DateTime]::UtcNow -ge $end) { return $late }
        Start-Sleep -Seconds 1
    }
}

# Takes the settings of docker back and starts it: a host without docker is worse than one whose docker has no proxy.
function Undo-Docker {
    foreach ($carrier in $Run.Written) {
        if ($carrier.Row.Service -ne 'docker') { continue }
        if (-not (Restore-Carrier @{ Carrier = $carrier })) { Write-Complaint "not-writable $($carrier.Path)" }
        Remove-Component $carrier.Row 'it does not start with these settings'
    }
    [void](Restart-Docker)
    Wait-Services
}

# Keeps of two lines of the record about one setting the later.
function Complete-Record {
    $old = @(Read-Notes $RecordFile)
    $last = [ordered]@{}
    foreach ($line in $old) {
        $field = $line.Split("`t"[0])
        $name = $line
        if ($Requested -ccontains $field[0].Split(':')[0]) { $name = "$($field[0]) $($field[1])" }
        $last[$name] = $line
    }
    if ($last.Count -lt $old.Count) { Write-Notes $RecordFile @($last.Values) }
}

# Notes with what an agent that is down will start: with what the registry says, whoever starts it.
function Write-StartNote {
    $found = @(Get-Service -Name (Get-RealName 'ecs') -ErrorAction SilentlyContinue)
    if ($found.Count -eq 0 -or "$($found[0].Status)" -ne 'Stopped' -or $Requested -cnotcontains 'ecs-agent') { return }
    $lines = @(Get-StartLines 'ecs')
    if (($lines -join "`n") -cne (@(Read-Notes $StartedFile) -join "`n")) { Write-Notes $StartedFile $lines }
}

# Makes everything right once, with the agent about to be started in a way.
function Invoke-Pass([string]$Way) {
    $script:Requested = $Run.Wanted
    $Run.Record = @(Read-Notes $RecordFile)
    $Run.Lines = @()
    $Run.Written = @()
    Get-Work
    $Run.Ran = @('docker', 'ecs' | Where-Object { $Run.Facts.Services[$_] -eq 'active' })
    foreach ($row in $Components) {
        $reason = "$($Run.Refused[$row.Name])"
        if ($reason -eq 'component-absent' -and $Way -eq 'join' -and $row.Service -eq 'ecs') {
            # It comes by joining.
            $script:Requested = @($Requested | Where-Object { $_ -cne $row.Name })
        } elseif ($reason -ne '') {
            Remove-Component $row $reason
        }
    }
    $Run.Deferred = ''
    if ($Run.Decision.Restart['docker'] -and -not (Test-MayRestart)) {
        $Run.Deferred = 'docker'
        $Run.Decision.Restart.Remove('docker')
    }
    if ($Run.Decision.Edits.Count -gt 0 -or $Run.Decision.Restart.Count -gt 0) {
        Write-Changes
        Restart-Stale $Way
        $late = @(Wait-Services)
        if ($late -contains 'docker' -and -not (Read-Docker (Get-ServiceState 'docker')).Answers) { $late = @(Undo-Docker) }
        foreach ($name in $late) { Write-Complaint "$name does not run with the new settings" }
    }
    $Run.Changed += @($Run.Written | ForEach-Object { $_.Row.Name } | Where-Object { $Requested -ccontains $_ })
    Complete-Record
    Write-StartNote
}

# What it takes to have this host in its cluster: join, start, or nothing. An agent that has registered refuses to start
# with the name of another cluster.
function Get-Way {
    if ($Cluster -eq '') { return '' }
    $current = "$([Environment]::GetEnvironmentVariable('ECS_CLUSTER', 'Machine'))"
    if ($current -eq '') {
        $folder = "$([Environment]::GetEnvironmentVariable('ECS_DATADIR', 'Machine'))"
        if ($folder -eq '') { $folder = $AgentFolder }
        if (-not [IO.File]::Exists("$folder\agent.db") -and -not [IO.File]::Exists("$folder\ecs_agent_data.json")) { return 'join' }
        Write-Complaint 'ECS_CLUSTER not set: the agent has registered already'
    } elseif ($current -cne $Cluster) {
        Write-Complaint "ECS_CLUSTER not set: this host is in the cluster $current"
    } elseif ((Get-ServiceState 'ecs') -ne 'active') {
        return 'start'
    }
    ''
}

# Starts the agent in a way.
function Start-Agent([string]$Way) {
    $block = { Start-Service -Name (Get-RealName 'ecs') -WarningAction SilentlyContinue }
    if ($Way -eq 'join') {
        $block = {
            Import-Module ECSTools
            Initialize-ECSAgent -Cluster $Cluster -EnableTaskIAMRole
        }
    }
    $Run.Started += 'ecs'
    $good = Invoke-Start 'ecs' $block
    $end = [DateTime]::UtcNow.AddSeconds($VerifySeconds)
    while ((Get-ServiceState 'ecs') -ne 'active' -and $good) {
        $good = [DateTime]::UtcNow -lt $end
        Start-Sleep -Seconds 1
    }
    if (-not $good) { Write-Complaint "ecs did not start ($Way)" }
}

# The whole work.
function Invoke-Boot {
    $system = Get-System
    if (-not $system.Known) { Stop-Refused 'wrong-platform' "this is windows $($system.Version)" }
    Initialize-Home
    if (-not (Enter-Lock $LockSeconds)) { Stop-Refused 'busy' 'an apply is at work' }
    $way = Get-Way
    Invoke-Pass $way
    if ($way -ne '') {
        Start-Agent $way
        # Joining may make the service anew, without its settings.
        Invoke-Pass ''
    }
    $lines = @("proxyfleet: policy $Policy, changed: $($Run.Changed -join ' ')")
    if ($Run.Changed.Count -eq 0) { $lines[0] += 'nothing' }
    $started = @('docker', 'ecs' | Where-Object { $Run.Started -contains $_ })
    if ($started.Count -gt 0) { $lines += "proxyfleet: started: $($started -join ' ')" }
    if ($Run.Deferred -ne '') { $lines += 'proxyfleet: docker runs with its old settings until it is restarted' }
    Write-Lines $lines
    Stop-Boot
}

try {
    Invoke-Boot
} catch {
    # Its text could hold a value.
    Write-Complaint "internal: line $($_.InvocationInfo.ScriptLineNumber): $($_.Exception.GetType().Name)"
    Stop-Boot
}
