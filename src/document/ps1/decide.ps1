# What an apply has to do: the facts compared with what is wanted. It only compares; carrying out is in apply.ps1.

# The value that a setting should have.
function Get-Wanted([string]$Rule) {
    if ($Rule -eq 'http') { return $WantHttp }
    if ($Rule -eq 'https') { return $WantHttps }
    $list = $WantBypass
    if ($Rule -eq 'bypass-all') { $list = Add-Subdomains $list }
    if ($Rule -ne 'bypass') { $list = "$list,$DockerPipe" }
    $list
}

# A bypass list for .NET as well, to which a domain is only the host of that name: after each domain the entry for what is
# below it, unless the list has that already.
function Add-Subdomains([string]$List) {
    $entries = @($List.Split(',') | Where-Object { $_ -ne '' })
    $all = foreach ($entry in $entries) {
        $entry
        if ($entry -cmatch '^[^.*:/][^:/]*$' -and $entry -cmatch '[^0-9.]' -and $entries -notcontains ".$entry") { ".$entry" }
    }
    $all -join ','
}

# Whether a truth is what it should be: a state, and with `set` a value.
function Test-Right([string]$Kind, $Truth, [string]$State, [string]$Value) {
    if ($State -ne $Truth.State) { return $false }
    if ($State -eq 'set') { return Test-SameValue $Kind $Truth.Value $Value }
    $State -eq 'unset' -or [string]::Equals($Truth.Value, $Value)
}

# The lines of the record about a setting.
function Get-Written($Facts, $Setting) {
    foreach ($line in $Facts.Record) {
        if ($line.Component -ceq $Setting.Row.Name -and $line.Key -ceq $Setting.Key) { $line }
    }
}

# What has to be done, where the services in $Proven were restarted just now:
#   Refusals  list of @{ Reason; Text }
#   Edits     list of @{ Component; Verb; Key; Value } for Edit-Carrier
#   Record    list of lines for the record
#   Created   component -> true where the file is ours
#   Restart   service -> true where it must start again
#   Left      list of @{ Component; Key }, changed by somebody else since we wrote them
function Get-Decision($Facts, $Proven) {
    $decision = @{
        Refusals = New-List; Edits = New-List; Record = New-List; Created = @{}; Restart = @{}; Left = New-List; Proven = @($Proven)
    }
    $settings = @($Facts.Settings | Where-Object { $Requested -ccontains $_.Row.Name })
    Add-Refusals $decision $Facts $settings
    if ($decision.Refusals.Count -gt 0) { return $decision }
    foreach ($setting in $settings) {
        $written = @(Get-Written $Facts $setting)
        if ($WantState -eq 'present') {
            Add-Present $decision $Facts $setting $written
        } elseif ($written.Count -gt 0) {
            Add-Absent $decision $Facts $setting $written
        }
    }
    Add-DueStart $decision $Facts
    $decision
}

# Adds the reasons for which nothing may be done.
function Add-Refusals($Decision, $Facts, $Settings) {
    foreach ($row in $Components) {
        if ($Requested -cnotcontains $row.Name) { continue }
        foreach ($block in $Facts.Blocked) {
            if ($block.Component -ceq $row.Name) {
                $Decision.Refusals.Add(@{ Reason = 'unsupported'; Text = "$($row.Name) $($block.Reason) $($block.Path)" })
            }
        }
        if ($WantState -eq 'present' -and $row.Service -ne '' -and $Facts.Services[$row.Service] -eq 'absent') {
            $Decision.Refusals.Add(@{ Reason = 'component-absent'; Text = $row.Name })
        }
    }
    # What is not known is no reason to restart anything.
    if ($Decision.Proven.Count -gt 0) { return }
    foreach ($setting in $Settings) {
        if ($WantState -eq 'absent' -and @(Get-Written $Facts $setting).Count -eq 0) { continue }
        if ($setting.Running.State -eq 'unknown') {
            $Decision.Refusals.Add(@{ Reason = 'unreadable'; Text = "$($setting.Row.Name) $($setting.Key)" })
        }
    }
}

# Adds what one setting takes to have its value.
function Add-Present($Decision, $Facts, $Setting, $Written) {
    $row = $Setting.Row
    $key = $Setting.Key
    $wanted = Get-Wanted (@($row.Settings | Where-Object { $_.Key -ceq $key })[0].Rule)
    if (-not (Test-Right $Setting.Kind $Setting.Carrier 'set' $wanted)) {
        $Decision.Edits.Add(@{ Component = $row.Name; Verb = 'set'; Key = $key; Value = $wanted })
        $Decision.Record.Add((Get-RecordLine $Facts $Setting $Written $wanted))
    }
    $running = $Setting.Running
    if ((Test-Unknown $Decision $Setting) -or
        ($running.State -ne 'na' -and -not (Test-Right $Setting.Kind $running 'set' $wanted))) {
        Add-Restart $Decision $Facts $row.Service
    }
}

# The line of the record for a value that is about to be written. What was there before us stays that of the first time.
function Get-RecordLine($Facts, $Setting, $Written, [string]$Wanted) {
    $carrier = $Facts.Carriers[$Setting.Row.Name]
    $field = @((Get-RecordName $Setting.Row $carrier), $Setting.Key, $Policy)
    if ($Written.Count -gt 0) {
        $first = $Written[0]
        $field += $first.Created, $first.State, $Wanted, $first.Prior, $first.PriorLine
    } else {
        $created = 'existed'
        if ($carrier.Syntax -eq 'daemon-json' -and -not $carrier.Read.Exists) { $created = 'created' }
        $field += $created, $Setting.Carrier.State, $Wanted, $Setting.Carrier.Value.Replace("`t", ' '), "$($Setting.Line)"
    }
    $field -join "`t"
}

# Adds what it takes to have one setting as it was before us. Where the carrier has something else than what we wrote, it
# stays, and where a process has something else, that too.
function Add-Absent($Decision, $Facts, $Setting, $Written) {
    $row = $Setting.Row
    $target = $Setting.Carrier
    $first = $Written[0]
    if (-not (Test-Right $Setting.Kind $Setting.Carrier $first.State $first.Prior)) {
        if (Test-Ours $Setting.Kind $Setting.Carrier $Written) {
            $target = @{ State = $first.State; Value = $first.Prior }
            $verb = 'restore'
            if ($first.State -eq 'unset') { $verb = 'remove' }
            $Decision.Edits.Add(@{ Component = $row.Name; Verb = $verb; Key = $Setting.Key; Value = $first.PriorLine })
            if ($first.Created -eq 'created') { $Decision.Created[$row.Name] = $true }
        } else {
            $Decision.Left.Add(@{ Component = $row.Name; Key = $Setting.Key })
        }
    }
    if ((Test-Unknown $Decision $Setting) -or (Test-KeepsOurs $Decision $Facts $Setting $Written $target)) {
        Add-Restart $Decision $Facts $row.Service
    }
}

# Whether a truth is a value that we wrote.
function Test-Ours([string]$Kind, $Truth, $Written) {
    foreach ($line in $Written) {
        if (Test-Right $Kind $Truth 'set' $line.Written) { return $true }
    }
    $false
}

# Whether a process still has a value of ours that it would not get again. One that was just restarted has its values from
# somewhere else, even if they are the same.
function Test-KeepsOurs($Decision, $Facts, $Setting, $Written, $Target) {
    $running = $Setting.Running
    if ($Decision.Proven -contains $Setting.Row.Service) { return $false }
    if ($running.State -eq 'unproven') { return $true }
    if ($running.State -ne 'set') { return $false }
    if ($Target.State -ne 'unset' -and (Test-SameValue $Setting.Kind $Target.Value $running.Value)) { return $false }
    if (Test-Elsewhere $Facts $Setting) { return $false }
    Test-Ours $Setting.Kind $running $Written
}

# Whether another source than its carrier gives a process the value that it has.
function Test-Elsewhere($Facts, $Setting) {
    foreach ($source in $Facts.Foreign) {
        if ($source.Component -ceq $Setting.Row.Name -and $source.Key -ceq $Setting.Key -and
            (Test-SameValue $Setting.Kind $source.Value $Setting.Running.Value)) { return $true }
    }
    $false
}

# Whether it is not known with what a process runs although it should be.
function Test-Unknown($Decision, $Setting) {
    $state = $Setting.Running.State
    $state -eq 'unknown' -or ($state -eq 'na' -and $Decision.Proven -contains $Setting.Row.Service)
}

# Adds the restart of a service, if it runs.
function Add-Restart($Decision, $Facts, [string]$Service) {
    if ($Service -ne '' -and $Facts.Services[$Service] -eq 'active') { $Decision.Restart[$Service] = $true }
}

# Adds the start of an agent that is down although it starts by itself, where this apply gives it new values or a new docker.
function Add-DueStart($Decision, $Facts) {
    if ($Facts.Services['ecs'] -ne 'due' -or $Facts.Services['docker'] -ne 'active') { return }
    $changes = $Decision.Restart.ContainsKey('docker') -and $DockerRestart -eq 'allow'
    foreach ($edit in $Decision.Edits) {
        foreach ($row in $Components) {
            if ($row.Name -ceq $edit.Component -and $row.Service -eq 'ecs') { $changes = $true }
        }
    }
    if ($changes) { $Decision.Restart['ecs'] = $true }
}
