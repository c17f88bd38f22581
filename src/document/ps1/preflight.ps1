# Asks the proxies, from this host, for a way to the ECS endpoint of the region (decision D7).

# Where an address is reached instead, in tests and in the embedded fleet: HOST:PORT=HOST:PORT, `*` for every proxy.
$Routes = @("$env:PROXYFLEET_ROUTE".Split(';') | Where-Object { $_ -ne '' })
# Seconds between two attempts.
$Pause = 1

# The host and port at which an address is reached.
function Get-Route([string]$Address, [bool]$IsProxy) {
    foreach ($route in $Routes) {
        $parts = $route.Split([char[]]'=', 2)
        if ($parts[0] -eq $Address -or ($parts[0] -eq '*' -and $IsProxy)) { return $parts[1] }
    }
    $Address
}

# The endpoint that the proxies must reach, empty where the region is not known.
function Get-Endpoint {
    $region = "$env:AWS_SSM_REGION_NAME"
    if ($region -cnotmatch '^[a-z0-9-]+$') { return '' }
    if ($region.StartsWith('cn-')) { return "ecs.$region.amazonaws.com.cn" }
    "ecs.$region.amazonaws.com"
}

# What a proxy answers to CONNECT: the status, 0 where there is no answer within ten seconds.
function Get-ConnectStatus([string]$Url, [string]$Endpoint) {
    $address = [Uri]$Url
    $place = Get-Route $address.Authority $true
    if ($place -notmatch ':[0-9]+$') { $place = "${place}:$($address.Port)" }
    $at = $place.LastIndexOf(':')
    $name = $place.Substring(0, $at).Trim([char[]]'[]')
    # Unless told otherwise, .NET Framework knows IPv4 here and, below, no TLS newer than 1.0.
    $family = 'InterNetwork'
    if ($name.Contains(':')) { $family = 'InterNetworkV6' }
    $client = [Net.Sockets.TcpClient]::new([Net.Sockets.AddressFamily]$family)
    try {
        $end = [DateTime]::UtcNow.AddSeconds(10)
        if (-not $client.ConnectAsync($name, [int]$place.Substring($at + 1)).Wait(10000)) { return 0 }
        $stream = $client.GetStream()
        if ($address.Scheme -eq 'https') {
            $stream = [Net.Security.SslStream]::new($stream, $false)
            if (-not $stream.AuthenticateAsClientAsync($address.DnsSafeHost, $null, 'Tls12', $false).Wait(10000)) { return 0 }
        }
        $bytes = [Text.Encoding]::ASCII.GetBytes("CONNECT ${Endpoint}:443 HTTP/1.1`r`nHost: ${Endpoint}:443`r`n`r`n")
        $stream.Write($bytes, 0, $bytes.Length)
        $buffer = New-Object byte[] 1024
        $text = ''
        while (-not $text.Contains("`n") -and $text.Length -lt 1024) {
            $left = [int]($end - [DateTime]::UtcNow).TotalMilliseconds
            $read = $stream.ReadAsync($buffer, 0, $buffer.Length)
            if ($left -le 0 -or -not $read.Wait($left) -or $read.Result -eq 0) { break }
            $text += [Text.Encoding]::ASCII.GetString($buffer, 0, $read.Result)
        }
        if ($text -cmatch '^HTTP/1\.[01] ([0-9]{3})') { return [int]$Matches[1] }
        return 0
    } catch {
        return 0
    } finally {
        $client.Close()
    }
}

# Refuses where a proxy gives no way.
function Test-Proxies {
    $endpoint = Get-Endpoint
    if ($endpoint -eq '') { Stop-Refused 'preflight-no-region' }
    Test-Proxy $WantHttps $endpoint
    if (-not [string]::Equals($WantHttp, $WantHttps)) { Test-Proxy $WantHttp $endpoint }
}

# Asks one proxy, twice if need be.
function Test-Proxy([string]$Url, [string]$Endpoint) {
    $status = Get-ConnectStatus $Url $Endpoint
    if ($status -lt 200 -or $status -gt 299) {
        Start-Sleep -Seconds $Pause
        $status = Get-ConnectStatus $Url $Endpoint
    }
    if ($status -ge 200 -and $status -le 299) { return }
    if ($status -eq 0) { Stop-Refused 'preflight-unreachable' "$Url does not answer" }
    # A proxy that need not serve this host may refuse it.
    if (-not (Test-Bypass $Endpoint)) {
        Stop-Refused 'preflight-refused' "$Url answers $status to CONNECT ${Endpoint}:443"
    }
}

# Whether the bypass list covers a host, as Go reads it.
function Test-Bypass([string]$Name) {
    foreach ($entry in $WantBypass.Split(',')) {
        if ($entry -ceq '*' -or $entry -ceq $Name) { return $true }
        if ($entry -ne '' -and $Name.EndsWith('.' + $entry.TrimStart('.'), [StringComparison]::Ordinal)) { return $true }
    }
    $false
}
