# What one run changed on this host, and putting it back. The folder of an apply holds, beside what the carriers held:
#   run        the run that the apply belongs to; the name of this file is `back` once everything is put back
#   states     a line for each carrier before it is changed, separated by tabs: NAME, STATE-BEFORE, STATE-AFTER, KEYS, PATH.
#              NAME is that of the component and of the backup; the record is called `managed`
#   restarted  the services that the apply restarted
#   folders    the folders that it made
# All of that is written before it happens, so an apply that is killed can be put back as well.

# What the functions below share.
#   Left      NAME=STATE -> true: every state that this run has seen a carrier in or left it in
#   First     NAME -> @{ State; Carrier; Lines; Differs }: what was there before the run, and whether it is there no more
#   Keys      NAME -> list of keys that the run touched
#   Then      services that the run restarted
#   Kept      folders of the run, the oldest first
$Back = @{ Left = @{}; First = @{}; Keys = @{}; Then = @(); Kept = @() }

# What tells versions of a content apart; `none` where there is none.
function Get-ContentState($Read, [string]$Syntax) {
    if ($Read.Reason -ne '') { return 'unreadable' }
    if (-not $Read.Exists -or ($Syntax -ne 'daemon-json' -and $Read.Content -eq '')) { return 'none' }
    # Variables have no order.
    if ($Syntax -eq 'machine') { return Get-Digest (@($Read.Content.Split("`n"[0]) | Sort-Object) -join "`n") }
    Get-Digest $Read.Content
}

# The same for what a carrier holds now.
function Get-CarrierState($Carrier) {
    Get-ContentState (Read-Carrier $Carrier (Get-Keys $Carrier.Row)) $Carrier.Syntax
}

# The same for notes of ours.
function Get-NotesState($Lines) {
    if (@($Lines).Count -eq 0) { return 'none' }
    Get-Digest (@($Lines) -join "`n")
}

# Adds a line to a file in the folder of this apply.
function Add-Note([string]$Name, [string]$Line) {
    [IO.File]::AppendAllText("$($Run.Work)\$Name", "$Line`n", $Utf8)
}

# Notes that something is about to go from one state to another.
function Add-State([string]$Name, [string]$Before, [string]$After, [string]$Keys, [string]$Path) {
    $Back.Left["$Name=$Before"] = $true
    $Back.Left["$Name=$After"] = $true
    Add-Note 'states' ($Name, $Before, $After, $Keys, $Path -join "`t")
}

# Whether a folder is that of an apply of this run; a file says so.
function Test-OfRun([string]$Folder, [string]$Name) {
    if ($RunId -eq '' -or -not [IO.File]::Exists("$Folder\$Name")) { return $false }
    [string]::Equals([IO.File]::ReadAllText("$Folder\$Name").Trim(), $RunId)
}

# The folders of all applies, the oldest first.
function Get-Backups {
    if (-not [IO.Directory]::Exists($Backups)) { return }
    $all = [IO.Directory]::GetDirectories($Backups)
    [Array]::Sort($all, [StringComparer]::Ordinal)
    $all
}

# Takes the folder of an apply away, and notes that its run can no longer be put back.
function Remove-Backup([string]$Folder) {
    if ([IO.File]::Exists("$Folder\run")) { [IO.File]::AppendAllText($DroppedFile, [IO.File]::ReadAllText("$Folder\run")) }
    [IO.Directory]::Delete($Folder, $true)
}

# Finds and reads the folders of this run; ends where there are none.
function Find-Kept {
    if ([IO.File]::Exists($DroppedFile) -and [IO.File]::ReadAllLines($DroppedFile) -ccontains $RunId) {
        Stop-Refused 'no-backup' "run $RunId"
    }
    $text = 'changed nothing here'
    foreach ($folder in @(Get-Backups)) {
        if (Test-OfRun $folder 'back') { $text = 'was put back before' }
        if (-not (Test-OfRun $folder 'run')) { continue }
        $Back.Kept += $folder
        Read-Kept $folder
    }
    if ($Back.Kept.Count -gt 0) { return }
    Add-Detail "run $RunId $text"
    Stop-Apply 'unchanged'
}

# Reads what a folder says; refuses where somebody changed something between two applies, and where a backup is gone.
function Read-Kept([string]$Folder) {
    if ([IO.File]::Exists("$Folder\restarted")) { $Back.Then += [IO.File]::ReadAllLines("$Folder\restarted") }
    foreach ($line in @(Read-Notes "$Folder\states")) {
        $name, $before, $after, $keys, $path = $line.Split([char[]]"`t", 5)
        if (-not $Back.First.ContainsKey($name)) {
            $first = Find-First $name $path "$Folder\$name"
            if ($first.State -cne $before) { Stop-Refused 'no-backup' $path }
            $Back.First[$name] = $first
            $Back.Keys[$name] = @()
        } elseif (-not $Back.Left.ContainsKey("$name=$before")) {
            Stop-Refused 'changed-meanwhile' $path
        }
        $Back.Left["$name=$before"] = $true
        $Back.Left["$name=$after"] = $true
        $Back.Keys[$name] += @($keys.Split(',') | Where-Object { $Back.Keys[$name] -cnotcontains $_ })
    }
}

# What a backup holds, and of which carrier: @{ State; Carrier; Lines }, the lines for the record alone.
function Find-First([string]$Name, [string]$Path, [string]$Backup) {
    if ($Name -eq 'managed') {
        $lines = @(Read-Notes $Backup)
        return @{ State = Get-NotesState $lines; Carrier = $null; Lines = $lines }
    }
    foreach ($row in $Components) {
        foreach ($known in $row.Carriers) {
            if ($row.Name -cne $Name -or $known.Path -ne $Path) { continue }
            $carrier = @{ Row = $row; Path = $known.Path; Syntax = $known.Syntax; Read = Read-File $Backup }
            return @{ State = Get-ContentState $carrier.Read $known.Syntax; Carrier = $carrier; Lines = @() }
        }
    }
    @{ State = '' }
}

# Puts into Prepared what is to be put back; refuses where something is not as the run left it.
function Initialize-Back {
    $names = @()
    $Run.Record = @(Read-Notes $RecordFile)
    foreach ($name in @(foreach ($row in $Components) { $row.Name }) + 'managed') {
        if (-not $Back.First.ContainsKey($name)) { continue }
        $first = $Back.First[$name]
        $path = $RecordFile
        $state = Get-NotesState $Run.Record
        if ($null -ne $first.Carrier) {
            $path = $first.Carrier.Path
            $state = Get-CarrierState $first.Carrier
        }
        if (-not $Back.Left.ContainsKey("$name=$state")) { Stop-Refused 'changed-meanwhile' $path }
        $first.Differs = $state -cne $first.State
    }
    foreach ($row in $Components) {
        if (-not $Back.First.ContainsKey($row.Name)) { continue }
        $names += $row.Name
        $Run.Prepared.Add(@{ Carrier = $Back.First[$row.Name].Carrier; Done = $true })
    }
    if ($Back.First.ContainsKey('managed')) { $Run.Record = @($Back.First['managed'].Lines) }
    $script:Requested = $names
}

# Gives a carrier back what it held, unless somebody else has changed it. Says whether that worked.
function Restore-Change($Change) {
    $carrier = $Change.Carrier
    if ($Back.Left.ContainsKey("$($carrier.Row.Name)=$(Get-CarrierState $carrier)")) { return Restore-Carrier $Change }
    Add-Detail "$($carrier.Path) was changed by somebody else and is left alone"
    $false
}

# Whether a process has another value than its carrier gives now. One without a setting may have it from elsewhere.
function Test-Stale($Facts, $Setting) {
    $running = $Setting.Running
    if ($running.State -eq 'na' -or (Test-Right $Setting.Kind $running $Setting.Carrier.State $Setting.Carrier.Value)) { return $false }
    if ($Setting.Carrier.State -ne 'unset' -or $running.State -ne 'set') { return $true }
    -not (Test-Elsewhere $Facts $Setting)
}

# Notes which services must start again: those that the run restarted and that have other values than they would get, or that
# did not survive what the run did to them.
function Add-BackRestarts {
    $states = $Run.Facts.Services
    $stale = @(
        foreach ($setting in $Run.Facts.Settings) {
            if ($Requested -ccontains $setting.Row.Name -and (Test-Stale $Run.Facts $setting)) { $setting.Row.Service }
        }
    )
    foreach ($service in $Services) {
        $name = $service.Name
        if ($Back.Then -notcontains $name -or $Run.Needed -contains $name) { continue }
        if ($states[$name] -eq 'due' -and $states['docker'] -ne 'inactive') {
            $Run.Ran += $name
            $Run.Needed += $name
        } elseif ($stale -notcontains $name) {
            continue
        } elseif ($name -eq 'docker' -and $DockerRestart -eq 'defer') {
            $Run.Pending += $name
        } else {
            $Run.Needed += $name
        }
    }
}

# Puts back what the run changed on this host, all of it or, where somebody else changed something since, nothing; ends.
function Invoke-PutBack {
    Find-Kept
    Initialize-Back
    $Run.Phase = 'back'
    $result = 'unchanged'
    $broken = ''
    foreach ($first in $Back.First.Values) { if ($first.Differs) { $result = 'changed' } }
    foreach ($change in $Run.Prepared) {
        $name = $change.Carrier.Row.Name
        $first = $Back.First[$name]
        if (-not $first.Differs) { continue }
        if (-not (Restore-Change $change) -or (Get-CarrierState $change.Carrier) -cne $first.State) { $broken = 'files' }
        $Run.Body.Add("w $($change.Carrier.Path) $($Back.Keys[$name] -join ',')")
    }
    foreach ($folder in $Back.Kept) {
        if (-not [IO.File]::Exists("$folder\folders")) { continue }
        foreach ($made in [IO.File]::ReadAllLines("$folder\folders")) { $Run.Folders.Add($made) }
    }
    if (-not (Restore-Record)) { $broken = 'record' }
    $Run.Facts = Get-Facts
    Find-Ran
    Add-BackRestarts
    if ($Run.Needed.Count -gt 0) {
        $result = 'changed'
        Write-Restarting
        $Run.Restarted = @($Services | Where-Object { $Run.Needed -contains $_.Name } | ForEach-Object { $_.Name })
        $down = Restart-AfterUndo
        if ($down -ne '') { $broken = $down }
    }
    if ($broken -ne '') { Stop-Apply "failed put-back-$broken" }
    Remove-File $RestartingFile
    if ($Run.Pending.Count -gt 0) {
        $Run.Body.Add('p docker')
    } else {
        # The oldest last: without the newer ones it still leads to the same.
        [Array]::Reverse($Back.Kept)
        foreach ($folder in $Back.Kept) { [IO.File]::Move("$folder\run", "$folder\back") }
    }
    Stop-Apply $result
}
