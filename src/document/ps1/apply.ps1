# Makes the proxy settings of this host equal to the parameters, proves it, and takes everything back if it cannot. Or puts
# back what an earlier apply did.

#@parameters@

# The longest detail in a report, in bytes, and the number of details.
$DetailBytes = 180
$DetailLines = 5
# Seconds to wait for another apply and for a service to come up.
$LockSeconds = 5
$VerifySeconds = 60
if ($Routes.Count -gt 0 -and "$env:PROXYFLEET_WAIT" -cmatch '^[0-9]{1,3}$') {
    $LockSeconds = [int]$env:PROXYFLEET_WAIT
    $VerifySeconds = $LockSeconds
}
$Backups = "$HomeFolder\backup"
# Runs of which a backup was dropped.
$DroppedFile = "$Backups\dropped"
# Names the services that an apply was restarting when it ended early. They count as services that ran.
$RestartingFile = "$HomeFolder\restarting"
$Introspection = 'localhost:51678'

# What the functions below share: how far this apply is, and what it knows.
#   Phase     idle, changing, back
#   Body      lines of the report          Details     how many of them are details
#   Ran       services that ran            Needed      services to restart
#   Pending   services to restart later    Restarted   services restarted
#   Prepared  list of @{ Carrier; New; Edits; Done }
#   Answered  whether the agent answered before
$Run = @{
    Phase = 'idle'; Body = New-List; Details = 0; Ran = @(); Needed = @(); Pending = @(); Restarted = @()
    Prepared = New-List; Folders = New-List; Work = ''; Answered = $false; Facts = $null; Decision = $null
    Record = $null; Reason = ''; Text = ''
}

# Adds a detail to the report.
function Add-Detail([string]$Text) {
    $Run.Details++
    if ($Run.Details -gt $DetailLines) { return }
    $Run.Body.Add('e ' + $Text.Substring(0, [Math]::Min($Text.Length, $DetailBytes)))
}

# Prints the report with a result (and its reason) and ends.
function Stop-Apply([string]$Result) {
    try {
        Clear-Work
    } catch {
        # Leftovers do no harm.
    }
    Exit-Lock
    Write-Lines (@("proxyfleet/1 apply $Platform $Result") + $Run.Body.ToArray() + 'end')
    if ($Result -eq 'changed' -or $Result -eq 'unchanged') { exit 0 }
    exit 1
}

# Leaves in the folder of this apply what was backed up, and of all such folders the newest five and those of this run.
function Clear-Work {
    if ($Run.Work -eq '') { return }
    # What a run restarted it may have to restart again.
    $kept = @($Run.Prepared | Where-Object { $_.Done }).Count -gt 0 -or ($RunId -ne '' -and $Run.Restarted.Count -gt 0)
    if (-not $kept) { [IO.Directory]::Delete($Run.Work, $true) }
    $all = @(Get-Backups)
    for ($i = 0; $i -lt $all.Count - 5; $i++) {
        if (-not (Test-OfRun $all[$i] 'run')) { Remove-Backup $all[$i] }
    }
}

# Ends before anything was changed: the reason, and a detail if there is one.
function Stop-Refused([string]$Reason, [string]$Text) {
    if ($Text -ne '') { Add-Detail $Text }
    Stop-Apply "refused $Reason"
}

# Refuses parameters that the service should not have let through; the agent itself checks patterns only.
function Assert-Parameters {
    $given = $WantHttp -ne '' -and $WantHttps -ne '' -and $WantBypass -ne ''
    $good = ($WantState -ceq 'absent' -or ($WantState -ceq 'present' -and $given)) -and
        @('allow', 'defer') -ccontains $DockerRestart -and @('require', 'skip') -ccontains $Preflight
    $good = $good -and ($Action -ceq 'apply' -or ($Action -ceq 'put-back' -and $RunId -ne ''))
    if (-not $good -or $RunId -cnotmatch '\A[0-9A-Za-z-]{0,64}\z') { Stop-Refused 'bad-parameters' }
    $known = @(foreach ($row in $Components) { if ($row.Written) { $row.Name } })
    foreach ($name in $Requested) {
        if ($name -eq '') { Stop-Refused 'bad-parameters' 'no component' }
        if ($known -cnotcontains $name) { Stop-Refused 'bad-parameters' "component $name" }
    }
}

# Makes the folder that only SYSTEM and administrators may use. One that somebody else made would let them write our record.
function Initialize-Home {
    try {
        [void][IO.Directory]::CreateDirectory($HomeFolder)
        $link = [IO.File]::GetAttributes($HomeFolder) -band [IO.FileAttributes]::ReparsePoint
        $security = New-Object Security.AccessControl.DirectorySecurity $HomeFolder, 'Owner'
        $owner = $security.GetOwner([Security.Principal.SecurityIdentifier]).Value
    } catch {
        Stop-Refused 'not-writable' $HomeFolder
    }
    $own = [Security.Principal.WindowsIdentity]::GetCurrent().User.Value
    if ($link -or @('S-1-5-18', 'S-1-5-32-544', $own) -notcontains $owner) { Stop-Refused 'not-ours' $HomeFolder }
    $rights = '/inheritance:r /grant:r *S-1-5-18:(OI)(CI)F *S-1-5-32-544:(OI)(CI)F /q'
    [void](Invoke-Program "$([Environment]::SystemDirectory)\icacls.exe" "$HomeFolder $rights" 10)
}

# Takes away what an apply that was killed had prepared.
function Clear-Leftovers {
    $places = @($HomeFolder)
    foreach ($row in $Components) {
        foreach ($carrier in $row.Carriers) {
            if ($carrier.Syntax -eq 'daemon-json') { $places += [IO.Path]::GetDirectoryName($carrier.Path) }
        }
    }
    foreach ($folder in $places) {
        if (-not [IO.Directory]::Exists($folder)) { continue }
        foreach ($file in [IO.Directory]::GetFiles($folder)) {
            if ([IO.Path]::GetFileName($file) -cmatch '^\..*\.proxyfleet\.[0-9]+$') { Remove-File $file }
        }
    }
}

# Sets Ran to the services that ran when this apply began, and starts again what an apply that was killed had stopped.
function Find-Ran {
    $managed = @(foreach ($row in $Components) { if ($row.Written -and $row.Service -ne '') { $row.Service } })
    foreach ($service in $Services) {
        if ($managed -contains $service.Name -and $Run.Facts.Services[$service.Name] -eq 'active') { $Run.Ran += $service.Name }
    }
    if (-not [IO.File]::Exists($RestartingFile)) { return }
    foreach ($name in [IO.File]::ReadAllLines($RestartingFile)) {
        if ($managed -ccontains $name -and $Run.Ran -cnotcontains $name) {
            $Run.Ran += $name
            $Run.Needed += $name
        }
    }
    # Everything runs again: from now on whoever stops a service means it.
    if ($Run.Needed.Count -eq 0) { Remove-File $RestartingFile }
}

# Notes which services must start again, now or, where the policy says so, later.
function Add-Restarts {
    foreach ($service in $Services) {
        if (-not $Run.Decision.Restart.ContainsKey($service.Name)) { continue }
        if ($service.Name -eq 'docker' -and $DockerRestart -eq 'defer') {
            $Run.Pending += $service.Name
        } elseif ($Run.Needed -notcontains $service.Name) {
            $Run.Needed += $service.Name
        }
    }
}

# Whether the ECS agent answers on this host; what it says does not matter.
function Test-Agent {
    $request = [Net.WebRequest]::Create("http://$(Get-Route $Introspection $false)/v1/metadata")
    $request.Proxy = $null
    $request.Timeout = 5000
    try {
        $request.GetResponse().Close()
        return $true
    } catch [Net.WebException] {
        return $null -ne $_.Exception.Response
    } catch {
        return $false
    }
}

# Works out the new content of every carrier and brings nothing into place yet. A file is tried to be written.
function Initialize-Changes {
    foreach ($row in $Components) {
        $edits = @($Run.Decision.Edits | Where-Object { $_.Component -ceq $row.Name })
        if ($edits.Count -eq 0) { continue }
        $carrier = $Run.Facts.Carriers[$row.Name]
        try {
            $new = Edit-Carrier $carrier.Syntax $carrier.Read.Content $edits
        } catch {
            Stop-Prepared 'unsupported' "$($row.Name) $(Get-Unsupported $_) $($carrier.Path)"
        }
        if ([string]::Equals($new, $carrier.Read.Content)) { continue }
        # A file that we made goes when nothing of anybody is left in it.
        if ($Run.Decision.Created.ContainsKey($row.Name) -and $new -cmatch '^\s*(\{\s*\}\s*)?$') { $new = $null }
        $Run.Prepared.Add(@{ Carrier = $carrier; New = $new; Edits = $edits; Done = $false })
        try {
            Backup-Carrier $carrier
            $before = Get-ContentState $carrier.Read $carrier.Syntax
            $after = Get-ContentState @{ Exists = $null -ne $new; Content = "$new"; Reason = '' } $carrier.Syntax
            $keys = @(foreach ($edit in $edits) { $edit.Key }) -join ','
            Add-State $row.Name $before $after $keys $carrier.Path
        } catch {
            Stop-Prepared 'not-writable' $carrier.Path
        }
    }
}

# Keeps what a carrier holds, and makes sure that a file could be written.
function Backup-Carrier($Carrier) {
    if ($Carrier.Read.Exists) { Write-Temporary "$($Run.Work)\$($Carrier.Row.Name)" $Carrier.Read.Content }
    if ($Carrier.Syntax -ne 'daemon-json') { return }
    $folder = [IO.Path]::GetDirectoryName($Carrier.Path)
    for ($above = $folder; -not [IO.Directory]::Exists($above); $above = [IO.Path]::GetDirectoryName($above)) {
        $Run.Folders.Add($above)
    }
    [void][IO.Directory]::CreateDirectory($folder)
    $temporary = Get-TemporaryPath $Carrier.Path
    Write-Temporary $temporary $Carrier.Read.Content
    Remove-File $temporary
}

# Takes away what was made for carriers that do not come into being.
function Remove-Folders {
    foreach ($folder in $Run.Folders) {
        if ([IO.Directory]::Exists($folder) -and [IO.Directory]::GetFileSystemEntries($folder).Length -eq 0) {
            [IO.Directory]::Delete($folder)
        }
    }
}

# Refuses after something was prepared.
function Stop-Prepared([string]$Reason, [string]$Text) {
    Remove-Folders
    $Run.Prepared.Clear()
    Stop-Refused $Reason $Text
}

# Brings the new content of one carrier into place.
function Complete-Change($Change) {
    $carrier = $Change.Carrier
    # What somebody else wrote since we looked must not be lost.
    if (-not (Test-Unchanged $carrier (Get-Keys $carrier.Row) $carrier.Read)) {
        $Run.Text = "$($carrier.Path) was changed by somebody else at the same time"
        Undo-Apply 'changed-meanwhile'
    }
    $Change.Done = $true
    try {
        Write-Carrier $carrier $carrier.Read.Content $Change.New
    } catch {
        Undo-Apply 'write'
    }
    foreach ($verb in 'w', 'x') {
        $keys = @(foreach ($edit in $Change.Edits) { if (($edit.Verb -eq 'set') -eq ($verb -eq 'w')) { $edit.Key } })
        if ($keys.Count -gt 0) { $Run.Body.Add("$verb $($carrier.Path) $($keys -join ',')") }
    }
}

# Puts what is about to be written into the record, beside what it says already: a crash must not make us forget.
function Add-RecordAhead {
    if ($Run.Decision.Record.Count -eq 0) { return }
    Write-Record (@(Read-Notes $RecordFile) + $Run.Decision.Record.ToArray())
}

# Drops from the record what no longer holds: earlier values of what was written, and everything that was taken away.
function Complete-Record {
    $names = @{}
    foreach ($row in $Components) {
        if ($Requested -ccontains $row.Name) { $names[(Get-RecordName $row $Run.Facts.Carriers[$row.Name])] = $row }
    }
    $others = New-List
    $order = New-List
    $last = @{}
    $old = @(Read-Notes $RecordFile)
    foreach ($line in $old) {
        $field = $line.Split([char[]]"`t", 8)
        $name = "$($field[0]) $($field[1])"
        if (-not $names.ContainsKey($field[0])) {
            $others.Add($line)
        } elseif ($WantState -eq 'present') {
            $rule = @($names[$field[0]].Settings | Where-Object { $_.Key -ceq $field[1] })
            if (-not $last.ContainsKey($name)) {
                $order.Add($name)
                $last[$name] = $line
            } elseif ($rule.Count -gt 0 -and [string]::Equals($field[5], (Get-Wanted $rule[0].Rule))) {
                $last[$name] = $line
            }
        }
    }
    $new = @($others.ToArray()) + @(foreach ($name in $order) { $last[$name] })
    if (-not [string]::Equals(($new -join "`n"), ($old -join "`n"))) { Write-Record $new }
}

# Gives the record new lines; what could be put back is noted first.
function Write-Record($Lines) {
    if ($Run.Work -ne '') {
        Add-State 'managed' (Get-NotesState @(Read-Notes $RecordFile)) (Get-NotesState $Lines) '' $RecordFile
    }
    Write-Notes $RecordFile $Lines
}

# Writes down which services are about to stop: a restart of docker stops the agent as well.
function Write-Restarting {
    $names = @($Run.Needed)
    if ($names -contains 'docker') { $names += @($Run.Ran | Where-Object { $names -notcontains $_ }) }
    Write-File $RestartingFile (($names -join "`n") + "`n")
    if ($Action -eq 'apply') { Add-Note 'restarted' ($names -join "`n") }
}

# Restarts what Needed names, docker first; says no with Reason and Text.
function Restart-Needed {
    if ($Run.Needed -contains 'docker') {
        $along = $Run.Ran -contains 'ecs' -and (Test-GoesAlong 'ecs')
        $Run.Restarted += 'docker'
        $Run.Reason = 'restart-docker'
        $Run.Text = 'docker did not start'
        $good = Restart-Docker
        if ($along) { $Run.Restarted += 'ecs' }
        if (-not $good) { return $false }
        $Run.Reason = 'service-not-up'
        $Run.Text = "docker is $(Get-ServiceState 'docker')"
        if ((Get-ServiceState 'docker') -ne 'active') { return $false }
        if ($along) {
            $Run.Reason = 'restart-ecs'
            $Run.Text = 'ecs did not start'
            if (-not (Start-One 'ecs')) { return $false }
        }
    }
    if ($Run.Needed -contains 'ecs' -and $Run.Restarted -notcontains 'ecs') {
        $Run.Restarted += 'ecs'
        $Run.Reason = 'restart-ecs'
        $Run.Text = 'ecs did not start'
        if (-not (Restart-One 'ecs')) { return $false }
    }
    $true
}

# Waits until everything is as decided and every service that should run runs; says no after the time is over.
function Test-Applied {
    # By the clock: one look can take half a minute where docker hangs.
    $end = [DateTime]::UtcNow.AddSeconds($VerifySeconds)
    while (-not (Test-AppliedOnce)) {
        if ([DateTime]::UtcNow -ge $end) { return $false }
        Start-Sleep -Seconds $Pause
    }
    $true
}

# One look at everything; says no with Reason and Text.
function Test-AppliedOnce {
    $facts = Get-Facts
    $Run.Reason = 'service-not-up'
    foreach ($service in @($Run.Ran) + @($Run.Restarted)) {
        $Run.Text = "$service is $($facts.Services[$service])"
        if ($facts.Services[$service] -eq 'active') { continue }
        # A restart of docker can take the agent down after we looked.
        if ($Run.Restarted -contains 'docker' -and $service -ne 'docker') { [void](Start-One $service) }
        return $false
    }
    $Run.Reason = 'agent-silent'
    $Run.Text = "http://$Introspection/v1/metadata"
    if ($Run.Answered -and -not (Test-Agent)) { return $false }
    $Run.Reason = 'verify'
    $decision = Get-Decision $facts $Run.Restarted
    $wrong = @(
        foreach ($service in $Services) {
            $later = $service.Name -eq 'docker' -and $DockerRestart -eq 'defer'
            if ($decision.Restart.ContainsKey($service.Name) -and -not $later) { "$($service.Name) runs with other values" }
        }
        if ($decision.Edits.Count -gt 0) { 'a carrier has other values' }
        if ($decision.Refusals.Count -gt 0) { 'something stands in the way' }
    )
    $Run.Text = $wrong -join ' '
    $wrong.Count -eq 0
}

# Takes everything back for a reason and ends.
function Undo-Apply([string]$Reason) {
    $Run.Phase = 'back'
    $details = @($Run.Body | Where-Object { $_.StartsWith('e ') })
    $Run.Body.Clear()
    foreach ($line in $details) { $Run.Body.Add($line) }
    if ($Run.Text -ne '') { Add-Detail $Run.Text }
    $broken = ''
    foreach ($change in $Run.Prepared) {
        if ($change.Done -and -not (Restore-Change $change)) { $broken = 'files' }
    }
    if (-not (Restore-Record)) { $broken = 'record' }
    $down = Restart-AfterUndo
    if ($down -ne '') { $broken = $down }
    try {
        Remove-File $RestartingFile
    } catch {
        $broken = 'record'
    }
    if ($broken -eq '') { Stop-Apply "rolled-back $Reason" }
    Add-Detail "after $Reason"
    Stop-Apply "failed rollback-$broken"
}

# Gives the record the lines that it had, and takes away folders that were made. Says whether that worked.
function Restore-Record {
    try {
        Remove-Folders
        $record = @(Read-Notes $RecordFile)
        if (($record -join "`n") -cne ($Run.Record -join "`n")) { Write-Notes $RecordFile $Run.Record }
        return $true
    } catch {
        return $false
    }
}

# Gives a carrier back what it held. Says whether that worked.
function Restore-Carrier($Change) {
    $carrier = $Change.Carrier
    try {
        $now = Read-Carrier $carrier (Get-Keys $carrier.Row)
        $old = $carrier.Read.Content
        if ($now.Exists -eq $carrier.Read.Exists -and $now.Reason -eq '' -and [string]::Equals($now.Content, $old)) { return $true }
        if ($carrier.Syntax -eq 'daemon-json' -and -not $carrier.Read.Exists) { $old = $null }
        Write-Carrier $carrier $now.Content $old
        return $true
    } catch {
        return $false
    }
}

# Starts what was restarted once more, with the old settings. Returns a service that does not come up, or nothing.
function Restart-AfterUndo {
    if ($Run.Restarted.Count -eq 0) { return '' }
    $touched = @(foreach ($change in $Run.Prepared) { if ($change.Done) { $change.Carrier.Row.Service } })
    $fresh = @()
    $stuck = ''
    foreach ($service in $Run.Restarted) {
        # Where nothing was put back, another restart would only stop the tasks once more.
        if ($Run.Ran -cnotcontains $service) {
            try { Stop-Service -Name (Get-RealName $service) -Force -WarningAction SilentlyContinue } catch { continue }
        } elseif ($touched -contains $service -and $service -eq 'docker') {
            # It may not even have stopped.
            if (-not (Restart-Docker) -and (Get-ServiceState $service) -eq 'active') { $stuck = $service }
            $Run.Body.Add('r docker')
            if ((Test-GoesAlong 'ecs')) { $fresh = @('ecs') }
        } elseif ($touched -contains $service) {
            if ($fresh -contains $service) { [void](Start-One $service) }
            elseif (-not (Restart-One $service) -and (Get-ServiceState $service) -eq 'active') { $stuck = $service }
            $Run.Body.Add("r $service")
        } else {
            [void](Start-One $service)
        }
    }
    $end = [DateTime]::UtcNow.AddSeconds($VerifySeconds)
    while ($true) {
        $down = @($Run.Ran | Where-Object { (Get-ServiceState $_) -ne 'active' })
        if ($down.Count -eq 0) { return $stuck }
        if ([DateTime]::UtcNow -ge $end) { return $down[0] }
        Start-Sleep -Seconds $Pause
        [void](Start-One $down[0])
    }
}

# Carries the decisions out.
function Invoke-Change {
    # Names in the order of time, within a second as well.
    $stamp = [DateTime]::UtcNow.ToString('yyyyMMddTHHmmss.fffffffZ')
    $Run.Work = "$Backups\$stamp-$PID"
    try {
        [void][IO.Directory]::CreateDirectory($Run.Work)
        if ($Run.Record.Count -gt 0) { Write-Notes "$($Run.Work)\managed" $Run.Record }
        if ($RunId -ne '') { Add-Note 'run' $RunId }
    } catch {
        Stop-Refused 'not-writable' $Run.Work
    }
    Initialize-Changes
    $Run.Phase = 'changing'
    try {
        foreach ($folder in $Run.Folders) { Add-Note 'folders' $folder }
        Add-RecordAhead
    } catch {
        Undo-Apply 'record'
    }
    foreach ($change in $Run.Prepared) { Complete-Change $change }
    if ($Run.Needed.Count -gt 0) {
        try {
            Write-Restarting
        } catch {
            Undo-Apply 'record'
        }
        if (-not (Restart-Needed)) { Undo-Apply $Run.Reason }
    }
    if (-not (Test-Applied)) { Undo-Apply $Run.Reason }
    $Run.Phase = 'ended'
    Complete-Record
    Remove-File $RestartingFile
}

# The whole apply.
function Invoke-Apply {
    $system = Get-System
    if (-not $system.Known) { Stop-Refused 'wrong-platform' "this is windows $($system.Version)" }
    Assert-Parameters
    Initialize-Home
    if (-not (Enter-Lock $LockSeconds)) { Stop-Refused 'busy' 'another apply is at work' }
    Clear-Leftovers
    if ($Action -eq 'put-back') { Invoke-PutBack }
    if ($WantState -eq 'present' -and $Preflight -eq 'require') { Test-Proxies }
    $Run.Facts = Get-Facts
    $Run.Record = @(Read-Notes $RecordFile)
    Find-Ran
    $Run.Decision = Get-Decision $Run.Facts @()
    if ($Run.Decision.Refusals.Count -gt 0) {
        $first = $Run.Decision.Refusals[0]
        Stop-Refused $first.Reason $first.Text
    }
    Add-Restarts
    foreach ($left in $Run.Decision.Left) {
        Add-Detail "$($left.Component) $($left.Key) was changed by somebody else and is left alone"
    }
    $result = 'unchanged'
    if ($Run.Decision.Edits.Count -gt 0 -or $Run.Needed.Count -gt 0) {
        $result = 'changed'
        if ($Run.Needed.Count -gt 0) { $Run.Answered = Test-Agent }
        Invoke-Change
    } elseif ($WantState -eq 'absent') {
        Complete-Record
    }
    foreach ($service in $Services) {
        if ($Run.Restarted -contains $service.Name) { $Run.Body.Add("r $($service.Name)") }
        if ($Run.Pending -contains $service.Name) { $Run.Body.Add("p $($service.Name)") }
    }
    Stop-Apply $result
}

try {
    Invoke-Apply
} catch {
    # Its text could hold a value.
    $Run.Text = "line $($_.InvocationInfo.ScriptLineNumber): $($_.Exception.GetType().Name)"
    if ($Run.Phase -eq 'changing') { Undo-Apply 'internal' }
    Stop-Refused 'internal' $Run.Text
}
