# Reading and writing what carriers hold: files and registry values as text. What the text means is in carrier.ps1.
#
# A carrier is @{ Path; Syntax }. What was read of it is @{ Exists; Content; Reason }: Reason is empty, or it says why the
# content cannot be worked on.

# The longest file that is worked on, in bytes.
$MaxBytes = 262144

# The hive and the path below it for a path that begins with HKLM or HKU.
function Split-Hive([string]$Path) {
    $parts = $Path.Split([char[]]'\', 2)
    $hive = [Microsoft.Win32.Registry]::LocalMachine
    if ($parts[0] -eq 'HKU') { $hive = [Microsoft.Win32.Registry]::Users }
    @{ Hive = $hive; Path = $parts[1] }
}

# The registry key at a path, $null where there is none.
function Open-Key([string]$Path, [bool]$Writable) {
    $place = Split-Hive $Path
    $place.Hive.OpenSubKey($place.Path, $Writable)
}

# The name in a registry key that equals a name without regard to case, $null where there is none.
function Find-ValueName($Key, [string]$Name) {
    foreach ($known in $Key.GetValueNames()) {
        if ([string]::Equals($known, $Name, 'OrdinalIgnoreCase')) { return $known }
    }
}

# What a carrier holds. Keys are those of which a carrier with a registry value for each has anything.
function Read-Carrier($Carrier, $Keys) {
    try {
        if ($Carrier.Syntax -eq 'multi-sz') { return Read-Strings $Carrier.Path }
        if ($Carrier.Syntax -eq 'machine') { return Read-Variables $Carrier.Path $Keys }
        return Read-File $Carrier.Path
    } catch {
        return @{ Exists = $true; Content = ''; Reason = 'unreadable' }
    }
}

# Read-Carrier for one value with several strings.
function Read-Strings([string]$Path) {
    $result = @{ Exists = $false; Content = ''; Reason = '' }
    $at = $Path.LastIndexOf('\')
    $key = Open-Key $Path.Substring(0, $at) $false
    if ($null -eq $key) { return $result }
    $name = Find-ValueName $key $Path.Substring($at + 1)
    if ($null -ne $name) {
        $result.Exists = $true
        if ($key.GetValueKind($name) -ne 'MultiString') {
            $result.Reason = 'wrong-kind'
        } else {
            $content = New-Object Text.StringBuilder
            foreach ($text in $key.GetValue($name, $null, 'DoNotExpandEnvironmentNames')) {
                # The service manager reads no further than an empty string.
                if ($text.Length -eq 0 -or $text.IndexOfAny([char[]](0, 10, 13)) -ge 0) { $result.Reason = 'not-text' }
                [void]$content.Append($text).Append("`n")
            }
            $result.Content = "$content"
        }
    }
    $key.Close()
    $result
}

# Read-Carrier for a registry key with a value for each variable.
function Read-Variables([string]$Path, $Keys) {
    $result = @{ Exists = $false; Content = ''; Reason = '' }
    $key = Open-Key $Path $false
    if ($null -eq $key) { return $result }
    foreach ($wanted in $Keys) {
        $name = Find-ValueName $key $wanted
        if ($null -eq $name) { continue }
        $result.Exists = $true
        $kind = "$($key.GetValueKind($name))"
        $value = "$($key.GetValue($name, $null, 'DoNotExpandEnvironmentNames'))"
        if ($kind -eq 'String') {
            $result.Content += "REG_SZ $name=$value`n"
        } elseif ($kind -eq 'ExpandString') {
            $result.Content += "REG_EXPAND_SZ $name=$value`n"
        } else {
            $result.Reason = 'wrong-kind'
            continue
        }
        if ($value.IndexOfAny([char[]](0, 10, 13)) -ge 0) { $result.Reason = 'not-text' }
    }
    $key.Close()
    $result
}

# Read-Carrier for a file.
function Read-File([string]$Path) {
    $result = @{ Exists = $true; Content = ''; Reason = '' }
    $file = New-Object IO.FileInfo $Path
    if ([IO.Directory]::Exists($Path)) {
        $result.Reason = 'not-a-file'
    } elseif (-not $file.Exists) {
        $result.Exists = $false
    } elseif ($file.Attributes -band [IO.FileAttributes]::ReparsePoint) {
        $result.Reason = 'link'
    } elseif ($file.Length -gt $MaxBytes) {
        $result.Reason = 'too-large'
    } else {
        $bytes = [IO.File]::ReadAllBytes($Path)
        try {
            # A byte order mark stays in the text, where it is seen.
            $result.Content = $Utf8.GetString($bytes)
        } catch {
            $result.Reason = 'not-text'
        }
    }
    $result
}

#@writing@

# Whether a carrier still holds what was read of it.
function Test-Unchanged($Carrier, $Keys, $Read) {
    $now = Read-Carrier $Carrier $Keys
    $now.Exists -eq $Read.Exists -and $now.Reason -eq $Read.Reason -and [string]::Equals($now.Content, $Read.Content)
}

# Gives a carrier a new content in place of the one that was read. A file that is to go has the content $null.
function Write-Carrier($Carrier, [string]$Old, $New) {
    if ($Carrier.Syntax -eq 'multi-sz') {
        Write-Strings $Carrier.Path $New
    } elseif ($Carrier.Syntax -eq 'machine') {
        Write-Variables $Carrier.Path $Old $New
    } elseif ($null -eq $New) {
        Remove-File $Carrier.Path
    } else {
        Write-File $Carrier.Path $New
    }
}

# Write-Carrier for one value with several strings; without any the value goes.
function Write-Strings([string]$Path, [string]$Content) {
    $at = $Path.LastIndexOf('\')
    $key = Open-Key $Path.Substring(0, $at) $true
    $name = $Path.Substring($at + 1)
    try {
        if ($Content.Length -eq 0) {
            $key.DeleteValue($name, $false)
        } else {
            # What follows the last line feed is no string.
            $strings = $Content.Substring(0, $Content.Length - 1).Split("`n"[0])
            $key.SetValue($name, [string[]]$strings, 'MultiString')
        }
        $key.Flush()
    } finally {
        $key.Close()
    }
}

# The lines of a content of variables: @{ Kind; Name; Value } by the name in upper case.
function Split-Variables([string]$Content) {
    $variables = @{}
    foreach ($line in $Content.Split("`n"[0])) {
        if ($line -cnotmatch '^(REG_SZ|REG_EXPAND_SZ) ([^=]+)=') { continue }
        $variables[$Matches[2].ToUpperInvariant()] = @{
            Kind = @{ REG_SZ = 'String'; REG_EXPAND_SZ = 'ExpandString' }[$Matches[1]]
            Name = $Matches[2]
            Value = $line.Substring($Matches[0].Length)
            Line = $line
        }
    }
    $variables
}

# Write-Carrier for a registry key with a value for each variable.
function Write-Variables([string]$Path, [string]$Old, [string]$New) {
    $before = Split-Variables $Old
    $after = Split-Variables $New
    $key = Open-Key $Path $true
    try {
        foreach ($name in @($before.Keys)) {
            # A value keeps the case of its name for as long as it is there.
            if (-not $after.ContainsKey($name) -or $after[$name].Name -cne $before[$name].Name) {
                $key.DeleteValue($before[$name].Name, $false)
            }
        }
        foreach ($name in @($after.Keys)) {
            $variable = $after[$name]
            if ($before.ContainsKey($name) -and [string]::Equals($before[$name].Line, $variable.Line)) { continue }
            $key.SetValue($variable.Name, $variable.Value, $variable.Kind)
        }
        $key.Flush()
    } finally {
        $key.Close()
    }
}

# The path of the file that is written first and then takes the place of the one at a path.
function Get-TemporaryPath([string]$Path) {
    "$([IO.Path]::GetDirectoryName($Path))\.$([IO.Path]::GetFileName($Path)).proxyfleet.$PID"
}

# Writes a new file and brings it to the disk, so that a crash never leaves an empty one.
function Write-Temporary([string]$Path, [string]$Content) {
    $bytes = $Utf8.GetBytes($Content)
    $stream = [IO.File]::Open($Path, 'Create', 'Write', 'None')
    try {
        $stream.Write($bytes, 0, $bytes.Length)
        $stream.Flush($true)
    } finally {
        $stream.Close()
    }
}

# Gives a file a new content at once: whoever looks sees the old one or the new one. It keeps its access rights and its
# attributes, and a file that is not there yet is made.
function Write-File([string]$Path, [string]$Content) {
    $temporary = Get-TemporaryPath $Path
    try {
        Write-Temporary $temporary $Content
        if ([IO.File]::Exists($Path)) {
            $attributes = [IO.File]::GetAttributes($Path)
            if ($attributes -band [IO.FileAttributes]::ReadOnly) { [IO.File]::SetAttributes($Path, 'Normal') }
            [IO.File]::Replace($temporary, $Path, [NullString]::Value)
            [IO.File]::SetAttributes($Path, $attributes)
        } else {
            [IO.File]::Move($temporary, $Path)
        }
    } finally {
        Remove-File $temporary
    }
}

# Takes a file away, if it is there.
function Remove-File([string]$Path) {
    if (-not [IO.File]::Exists($Path)) { return }
    [IO.File]::SetAttributes($Path, 'Normal')
    [IO.File]::Delete($Path)
}
