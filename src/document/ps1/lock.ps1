# One apply at a time on a host, by a mutex of the system. Windows frees it when its holder dies.

$Lock = $null

# Takes the lock; waits a number of seconds for another holder, then says no.
function Enter-Lock([int]$Seconds) {
    try {
        $script:Lock = New-Object Threading.Mutex $false, 'Global\proxyfleet'
    } catch {
        # Somebody made it so that it cannot even be opened.
        return $false
    }
    try {
        return $Lock.WaitOne($Seconds * 1000)
    } catch [Threading.AbandonedMutexException] {
        # Its holder died. It is ours all the same.
        return $true
    }
}

# Gives the lock back, if it was taken.
function Exit-Lock {
    try {
        if ($null -ne $Lock) { $Lock.ReleaseMutex() }
    } catch {
        # It is somebody else's.
    }
}
