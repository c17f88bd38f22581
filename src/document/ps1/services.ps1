# Services and the docker client: what they say of themselves.

# The name that the service manager has for one of our words.
function Get-RealName([string]$Service) {
    foreach ($known in $Services) { if ($known.Name -eq $Service) { return $known.Real } }
}

# The state of a service: active; due, which is down although it starts by itself; inactive; absent.
function Get-ServiceState([string]$Service) {
    $real = Get-RealName $Service
    $found = @(Get-Service -Name $real -ErrorAction SilentlyContinue)
    if ($found.Count -eq 0) { return 'absent' }
    if ("$($found[0].Status)" -eq 'Running') { return 'active' }
    $key = Open-Key "HKLM\SYSTEM\CurrentControlSet\Services\$real" $false
    if ($null -ne $key -and $key.GetValue('Start', 3) -eq 2) { return 'due' }
    'inactive'
}

# What the docker client prints, $null where it does not answer. A hung one is ended after ten seconds.
function Invoke-Docker([string]$Arguments) {
    # The agent's own PATH is that of its start, which may be older than Docker.
    $path = @($env:PATH, [Environment]::GetEnvironmentVariable('PATH', 'Machine'), "$env:ProgramFiles\docker") -join ';'
    foreach ($folder in $path.Split(';')) {
        $client = "$($folder.Trim().Trim('"').TrimEnd('\'))\docker.exe"
        if ($folder.Trim() -eq '' -or -not [IO.File]::Exists($client)) { continue }
        $answer = Invoke-Program $client $Arguments 10
        if ($null -ne $answer -and $answer.Exit -eq 0) { return $answer.Text }
        return
    }
}

# What is known of Docker, whose service has a state: @{ Answers; Major; Values } with its major version, 0 if it cannot be
# told, and the values with which it runs.
function Read-Docker([string]$State) {
    $docker = @{ Answers = $false; Major = 0; Values = @{} }
    if ($State -eq 'absent') { return $docker }
    $version = ''
    if ($State -eq 'active') {
        $text = Invoke-Docker 'info'
        $docker.Answers = $null -ne $text
        foreach ($line in "$text".Split("`n"[0])) {
            if ($line -cmatch '^ *Server Version: *([0-9]+)') { $version = $Matches[1] }
            if ($line -cmatch '^ *(HTTP|HTTPS|No) Proxy: *(.*?)\s*$' -and $Matches[2].Length -gt 0) {
                $docker.Values[$Matches[1].ToUpperInvariant() + '_PROXY'] = $Matches[2]
            }
        }
    }
    if ($version -eq '' -and (Invoke-Docker '--version') -cmatch 'version ([0-9]+)') { $version = $Matches[1] }
    if ($version -ne '' -and $version.Length -lt 6) { $docker.Major = [int]$version }
    $docker
}
