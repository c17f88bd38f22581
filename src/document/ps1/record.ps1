# What proxyfleet notes of itself on this host.

# What it wrote, one setting a line, separated by tabs: component, key, policy, `created` where the file is ours, state of the
# setting before us (set, malformed, unset), value written, value before us, line before us. A component that can have
# another carrier than its first has the syntax of that one behind its name: what was written to one is not looked for in
# the other.
$RecordFile = "$HomeFolder\managed"
# The values with which a service was last started by us, one setting a line, separated by tabs: component, key, state,
# value. Windows shows nobody the environment of another process, but a service starts with what the registry says: as long
# as that is the same, so is what the process has, whoever starts it again.
$StartedFile = "$HomeFolder\started"

# The lines of a file of ours; none where it is not there or cannot be read.
function Read-Notes([string]$Path) {
    if (-not [IO.File]::Exists($Path)) { return }
    try {
        $text = [IO.File]::ReadAllText($Path, $Utf8)
    } catch {
        return
    }
    foreach ($line in $text.Split("`n"[0])) {
        if ($line.Contains("`t")) { $line }
    }
}

# The record: @{ Component; Key; Created; State; Written; Prior; PriorLine; Text } for each line.
function Read-Record {
    foreach ($text in Read-Notes $RecordFile) {
        $field = $text.Split([char[]]"`t", 8)
        if ($field.Length -ne 8) { continue }
        @{
            Component = $field[0]; Key = $field[1]; Created = $field[3]; State = $field[4]
            Written = $field[5]; Prior = $field[6]; PriorLine = $field[7]; Text = $text
        }
    }
}

# The name of a component in the record when it has this carrier.
function Get-RecordName($Row, $Carrier) {
    if ($Carrier.Path -eq $Row.Carriers[0].Path) { return $Row.Name }
    "$($Row.Name):$($Carrier.Syntax)"
}

# The setting of a component with which its service was last started by us: @{ State; Value }, $null where nothing is noted.
function Find-Started($Started, [string]$Component, [string]$Key) {
    foreach ($line in $Started) {
        $field = $line.Split([char[]]"`t", 4)
        if ($field.Length -eq 4 -and $field[0] -eq $Component -and $field[1] -eq $Key) {
            return @{ State = $field[2]; Value = $field[3] }
        }
    }
}

#@writing@

# Replaces a file of ours; without lines it goes.
function Write-Notes([string]$Path, $Lines) {
    if (@($Lines).Count -eq 0) {
        Remove-File $Path
    } else {
        Write-File $Path ((@($Lines) -join "`n") + "`n")
    }
}
