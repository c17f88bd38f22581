# Prints the report of what this host has. Reads only; writes nothing anywhere.

# The longest report, in bytes; longer output would be cut by the service.
$ReportLimit = 2400

# What may be shown of a value: no userinfo, nothing but printable ASCII.
function Get-Shown([string]$Value) {
    $head = ''
    $at = $Value.IndexOf('://', [StringComparison]::Ordinal)
    if ($at -ge 0) {
        $head = Hide-Userinfo $Value.Substring(0, $at + 3)
        $Value = $Value.Substring($at + 3)
    }
    ConvertTo-Printable ($head + (Hide-Userinfo $Value))
}

# A text with everything before its last @ replaced.
function Hide-Userinfo([string]$Text) {
    $at = $Text.LastIndexOf('@')
    if ($at -lt 0) { return $Text }
    '***' + $Text.Substring($at)
}

# The number of a value in the table of a report, which gets it if it does not have it yet.
function Get-Number($Table, [string]$Kind, [string]$State, [string]$Value) {
    $text = Get-Shown $Value
    if ($text.Length -gt $Table.Longest) {
        # The digest is that of the normal form, so that a decision can be based on it.
        if ($Kind -eq 'list' -and $State -eq 'set') { $Value = Get-NormalList $Value }
        $text = '#' + (Get-Digest $Value)
    }
    if (-not $Table.Known.ContainsKey($text)) {
        $number = $Table.Known.Count + 1
        $Table.Known[$text] = $number
        $Table.Lines.Add("= $number $text")
    }
    if ($State -eq 'malformed') { return "~$($Table.Known[$text])" }
    "$($Table.Known[$text])"
}

# The word for a truth in a report.
function Get-Word($Table, [string]$Kind, $Truth) {
    $words = @{ unset = '-'; na = '.'; unknown = '?'; unproven = '+' }
    if ($words.ContainsKey($Truth.State)) { return $words[$Truth.State] }
    Get-Number $Table $Kind $Truth.State $Truth.Value
}

# The lines of a report, with values longer than a number of characters replaced by a digest.
function Get-Report($Facts, [int]$Longest) {
    $table = @{ Longest = $Longest; Known = New-Object 'Collections.Generic.Dictionary[string,int]'; Lines = New-List }
    $details = @(
        foreach ($setting in $Facts.Settings) {
            "k $($setting.Row.Name) $($setting.Key) $(Get-Word $table $setting.Kind $setting.Carrier) . " +
                (Get-Word $table $setting.Kind $setting.Running)
        }
        Get-ManagedLines $Facts $table
        foreach ($source in $Facts.Foreign) {
            $number = Get-Number $table $source.Kind 'set' $source.Value
            "f $($source.Component) $($source.Key) inert $number $($source.Path)"
        }
        foreach ($block in $Facts.Blocked) { "b $($block.Component) $($block.Reason) $($block.Path)" }
        'end'
    )
    "proxyfleet/1 observe $Platform"
    foreach ($service in $Services) { "s $($service.Name) $($Facts.Services[$service.Name])" }
    foreach ($row in $Components) {
        if ($row.Carriers.Count -gt 1 -and $Facts.Carriers.ContainsKey($row.Name)) {
            "c $($row.Name) $($Facts.Carriers[$row.Name].Path)"
        }
    }
    $table.Lines
    $details
}

# The lines about what we wrote. Until an apply has ended the record may hold two values for one setting, each of them ours.
function Get-ManagedLines($Facts, $Table) {
    $told = @{}
    foreach ($line in $Facts.Record) {
        $name = "$($line.Component) $($line.Key)"
        $setting = Find-Setting $Facts $line.Component $line.Key
        if ($told.ContainsKey($name) -or $null -eq $setting) { continue }
        $told[$name] = $true
        $state = 'changed'
        foreach ($other in $Facts.Record) {
            if ("$($other.Component) $($other.Key)" -ceq $name -and $setting.Carrier.State -eq 'set' -and
                (Test-SameValue $setting.Kind $setting.Carrier.Value $other.Written)) {
                $state = 'intact'
            }
            if ("$($other.Component) $($other.Key)" -ceq $name) { $last = $other }
        }
        "m $name $state $(Get-Word $Table $setting.Kind @{ State = $last.State; Value = $last.Prior })"
    }
}

# The setting of a component, $null where the catalogue has none.
function Find-Setting($Facts, [string]$Component, [string]$Key) {
    foreach ($setting in $Facts.Settings) {
        if ($setting.Row.Name -ceq $Component -and $setting.Key -ceq $Key) { return $setting }
    }
}

# The length of a report in bytes.
function Get-Size($Lines) {
    $size = 0
    foreach ($line in $Lines) { $size += $line.Length + 1 }
    $size
}

# A report without what a decision needs least, as far as it is too long: other sources, the last ones first.
function Get-ShortReport($Lines) {
    $kept = New-List
    foreach ($line in $Lines) { $kept.Add($line) }
    for ($i = $kept.Count - 1; $i -ge 0 -and (Get-Size $kept) -gt $ReportLimit; $i--) {
        if ($kept[$i].StartsWith('f ')) { $kept.RemoveAt($i) }
    }
    $kept
}

# The report of a system that the catalogue has.
function Get-BestReport {
    $facts = Get-Facts
    foreach ($longest in 400, 64) {
        $report = @(Get-Report $facts $longest)
        if ((Get-Size $report) -le $ReportLimit) { return $report }
    }
    $report = @(Get-ShortReport $report)
    if ((Get-Size $report) -le $ReportLimit) { return $report }
    # A digest is as long as this.
    Get-ShortReport (Get-Report $facts 33)
}

try {
    $system = Get-System
    if ($system.Known) {
        Write-Lines (Get-BestReport)
    } else {
        Write-Lines "proxyfleet/1 observe unsupported windows $($system.Version)", 'end'
    }
} catch {
    # Its text could hold a value.
    Write-Lines "observing failed in line $($_.InvocationInfo.ScriptLineNumber): $($_.Exception.GetType().Name)"
    exit 1
}
exit 0
