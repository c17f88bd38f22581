# Starting services, and the note of what they were started with.

# Whether a service is stopped and started along with docker.
function Test-GoesAlong([string]$Service) {
    $key = Open-Key "HKLM\SYSTEM\CurrentControlSet\Services\$(Get-RealName $Service)" $false
    if ($null -eq $key) { return $false }
    $needs = @($key.GetValue('DependOnService', @()))
    $key.Close()
    $needs -contains (Get-RealName 'docker')
}

# The lines of the note of what a service starts with now.
function Get-StartLines([string]$Service) {
    foreach ($row in $Components) {
        if ($row.Service -ne $Service -or $row.Probe -ne 'start-record') { continue }
        $carrier = @{ Path = $row.Carriers[0].Path; Syntax = $row.Carriers[0].Syntax }
        $read = Read-Carrier $carrier (Get-Keys $row)
        foreach ($setting in $row.Settings) {
            $found = Get-CarrierSetting $carrier.Syntax $read.Content $setting.Key
            "$($row.Name)`t$($setting.Key)`t$($found.State)`t$($found.Value)"
        }
    }
}

# Runs a block that starts a service, and notes with which values that was. There is no note while it is at work: if this
# ends early, nothing is known. Says whether the block went through.
function Invoke-Start([string]$Service, [scriptblock]$Block) {
    $lines = @(Get-StartLines $Service)
    if ($lines.Count -gt 0) { Remove-File $StartedFile }
    try {
        [void](& $Block)
    } catch {
        return $false
    }
    if ($lines.Count -gt 0 -and (Get-ServiceState $Service) -eq 'active') { Write-Notes $StartedFile $lines }
    $true
}

# Starts a service again, running or not. Says whether that worked.
function Restart-One([string]$Service) {
    $real = Get-RealName $Service
    Invoke-Start $Service { Restart-Service -Name $real -Force -WarningAction SilentlyContinue }
}

# Makes sure that a service runs; leaves it alone if it does. Says whether that worked.
function Start-One([string]$Service) {
    if ((Get-ServiceState $Service) -eq 'active') { return $true }
    $real = Get-RealName $Service
    Invoke-Start $Service { Start-Service -Name $real -WarningAction SilentlyContinue }
}

# Restarts docker and with it, if it runs, the agent, which depends on it. Says whether docker runs then.
function Restart-Docker {
    $real = Get-RealName 'docker'
    $ecs = Get-ServiceState 'ecs'
    $block = {
        try {
            Restart-Service -Name $real -Force -WarningAction SilentlyContinue
        } catch {
            # It may be that only the agent did not come up again.
            if ((Get-ServiceState 'docker') -ne 'active') { throw }
        }
    }
    if ($ecs -eq 'active' -and (Test-GoesAlong 'ecs')) { return Invoke-Start 'ecs' $block }
    Invoke-Start 'docker' $block
}
