# What every script begins with: settings that make PowerShell strict and silent, a clean environment, the system it runs
# on, and the one place that prints.
#
# Two rules hold in all of these files. Values are compared with [string]::Equals, because -eq and -ceq follow a language and
# ignore some characters. And nothing is printed by accident: what a call returns and nobody needs goes to [void].

Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
[Threading.Thread]::CurrentThread.CurrentCulture = [Globalization.CultureInfo]::InvariantCulture
# Scripts inherit the SSM agent's environment, its own proxy included. An empty text would be a value.
foreach ($name in 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'ALL_PROXY', 'FTP_PROXY') {
    [Environment]::SetEnvironmentVariable($name, [NullString]::Value)
}

# Where proxyfleet keeps its record of what it wrote, its notes and backups.
$HomeFolder = 'C:\ProgramData\proxyfleet'
# UTF-8 without a byte order mark; bytes that are no UTF-8 are an error.
$Utf8 = New-Object Text.UTF8Encoding $false, $true

# A hash table for each text, which is split at blanks: as many words as there are keys, the last one with the rest.
function Split-Words([string]$Keys, $Texts) {
    $names = $Keys.Split(' ')
    foreach ($text in $Texts) {
        $words = $text.Split([char[]]' ', $names.Length)
        $row = @{}
        for ($i = 0; $i -lt $names.Length; $i++) { $row[$names[$i]] = $words[$i] }
        $row
    }
}

#@catalogue@

# An empty list that grows; it is passed on as one object.
function New-List {
    , (New-Object 'Collections.Generic.List[object]')
}

# The system: @{ Version; Known }, where Known says that this document is for it.
function Get-System {
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey('SOFTWARE\Microsoft\Windows NT\CurrentVersion')
    $build = "$($key.GetValue('CurrentBuildNumber', 'unknown'))"
    $major = $key.GetValue('CurrentMajorVersionNumber', $null)
    $version = "$($key.GetValue('CurrentVersion', ''))"
    if ($null -ne $major) { $version = "$major.$($key.GetValue('CurrentMinorVersionNumber', 0))" }
    $client = "$($key.GetValue('InstallationType', ''))" -eq 'Client'
    $key.Close()
    @{ Version = "$version.$build"; Known = ($version -eq '10.0' -and $Builds -contains $build -and -not $client) }
}

# A text with everything that is not printable ASCII replaced by `?`.
function ConvertTo-Printable([string]$Text) {
    [regex]::Replace($Text, '[^ -~]', '?')
}

# Prints lines. Not through the pipeline, whose encoding and line ends depend on the host.
function Write-Lines($Lines) {
    foreach ($line in $Lines) { [Console]::Out.Write((ConvertTo-Printable $line) + "`n") }
    [Console]::Out.Flush()
}

# Runs a program without window and input: @{ Exit; Text } with what it printed; $null where it cannot be started or does
# not end within the seconds.
function Invoke-Program([string]$Path, [string]$Arguments, [int]$Seconds) {
    $start = New-Object Diagnostics.ProcessStartInfo $Path, $Arguments
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $start.StandardOutputEncoding = $Utf8
    try {
        $process = [Diagnostics.Process]::Start($start)
    } catch {
        return $null
    }
    try {
        # Both pipes are read while it runs: a full one would hold it up.
        $process.StandardInput.Close()
        $text = $process.StandardOutput.ReadToEndAsync()
        $errors = $process.StandardError.ReadToEndAsync()
        if (-not $process.WaitForExit($Seconds * 1000)) {
            $process.Kill()
            return $null
        }
        # A child of its own may hold the pipes open.
        if (-not $text.Wait(2000)) { return $null }
        [void]$errors.Wait(100)
        return @{ Exit = $process.ExitCode; Text = $text.Result }
    } catch {
        return $null
    } finally {
        $process.Dispose()
    }
}
