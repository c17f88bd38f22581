# What carriers say and how they are edited, as texts: no file, no registry. The specification is the program's module
# catalog::carrier; a test holds the two equal on random texts.
#
# A text that cannot be worked on is an error with the message 'unsupported REASON'. JSON is taken apart by patterns, because
# ConvertFrom-Json accepts what docker refuses, and ConvertTo-Json would write the whole file anew.

$JsonBlanks = [char[]]" `t`r`n"
$JsonBlank = '[ \t\r\n]*'
$JsonString = '"(?>[^"\\\x00-\x1f]+|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"'
$JsonScalar = '-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null'
# An array or object of a text that is JSON: a bracket closes the whole when no other is open.
$JsonNested = "[\[{](?>$JsonString|[^][{}""]+|(?<open>[\[{])|(?<-open>[\]}]))*[\]}]"
$JsonMember = [regex]"\G$JsonBlank(?<name>$JsonString)$JsonBlank`:$JsonBlank(?<value>$JsonString|$JsonNested|$JsonScalar)$JsonBlank(?<end>[,}])"
$JsonDepth = 127
$VariableOrder = 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'

# What a text says of a key: @{ State; Value; Line }, State being set, malformed or unset, and Line what Edit-Carrier takes to restore it.
function Get-CarrierSetting([string]$Syntax, [string]$Content, [string]$Key) {
    $setting = @{ State = 'unset'; Value = ''; Line = $null }
    if ($Syntax -ceq 'daemon-json') {
        $proxies = (Read-DaemonJson $Content).Proxies
        $member = Find-JsonMember $proxies (Get-JsonName $Key)
        if ($null -ne $member) {
            $setting = @{ State = 'set'; Value = ConvertFrom-JsonString $member.Value; Line = $member.Value }
        }
        return $setting
    }
    $entries = Split-Entries $Content
    $found = Find-Entries $Syntax $entries $Key
    if ($found.Last -ge 0) {
        $setting = @{ State = $found.State; Value = $found.Value; Line = $entries[$found.Last] }
    }
    $setting
}

# Whether two values mean the same: of the kind url byte for byte, of the kind list as a set of names in any case.
function Test-SameValue([string]$Kind, [string]$Left, [string]$Right) {
    if ([string]::Equals($Left, $Right)) { return $true }
    $Kind -ceq 'list' -and [string]::Equals((Get-NormalList $Left), (Get-NormalList $Right))
}

# A list in lower case, sorted, each entry once.
function Get-NormalList([string]$List) {
    # Only ASCII letters: other letters have no case in host names.
    $lower = [regex]::Replace($List, '[A-Z]+', { $args[0].Value.ToLowerInvariant() })
    $entries = [Collections.Generic.SortedSet[string]]::new([StringComparer]::Ordinal)
    foreach ($entry in $lower.Split([char]',')) {
        $entry = $entry.Trim([char[]]" `t")
        if ($entry.Length -gt 0) { [void]$entries.Add($entry) }
    }
    $entries -join ','
}

# Throws when a text is longer in UTF-8 than a carrier may be.
function Assert-Size([string]$Content) {
    if ([Text.Encoding]::UTF8.GetByteCount($Content) -gt 262144) { throw 'unsupported too-large' }
}

# The strings of a registry value, each of which ends with a line feed, as a list.
function Split-Entries([string]$Content) {
    Assert-Size $Content
    if ($Content.IndexOfAny([char[]](0, 13)) -ge 0) { throw 'unsupported not-text' }
    $entries = [Collections.Generic.List[string]]::new()
    $entries.AddRange($Content.Split([char]10))
    if ($entries[$entries.Count - 1].Length -eq 0) { $entries.RemoveAt($entries.Count - 1) }
    , $entries
}

# The entries of a key: @{ Last; Earlier; State; Value; Place }, Last being -1 where there is none, and Place where a new one goes.
function Find-Entries([string]$Syntax, $Entries, [string]$Key) {
    $kinds = @{ 'multi-sz' = '(?<kind>)'; 'machine' = '(?<kind>REG_SZ|REG_EXPAND_SZ) ' }[$Syntax]
    $found = @{ Last = -1; Earlier = [Collections.Generic.List[int]]::new(); State = 'unset'; Value = ''; Place = -1 }
    for ($i = 0; $i -lt $Entries.Count; $i++) {
        # A name may begin with an equals sign.
        $match = [regex]::Match($Entries[$i], "\A$kinds(?<name>.[^=]*)=(?<value>.*)\z")
        if (-not $match.Success) {
            if ($Syntax -ceq 'machine' -or $Entries[$i].Length -eq 0) { throw 'unsupported not-text' }
            continue
        }
        $name = $match.Groups['name'].Value
        if ([string]::Equals($name, $Key, 'OrdinalIgnoreCase')) {
            if ($found.Last -ge 0) { $found.Earlier.Add($found.Last) }
            $found.Last = $i
            $found.Value = $match.Groups['value'].Value
            $found.State = 'set'
            # A percent sign there begins the name of another variable.
            if ($match.Groups['kind'].Length -gt 6 -and $found.Value.Contains('%')) { $found.State = 'malformed' }
        } elseif ($Syntax -ceq 'machine' -and $found.Place -lt 0 -and (Get-VariableRank $name) -gt (Get-VariableRank $Key)) {
            $found.Place = $i
        }
    }
    if ($found.Place -lt 0) { $found.Place = $Entries.Count }
    $found
}

# The place of a Machine variable in their order, -1 for others.
function Get-VariableRank([string]$Name) {
    [Array]::IndexOf($VariableOrder, $Name.ToUpperInvariant())
}

# The name of a key in daemon.json.
function Get-JsonName([string]$Key) {
    $Key.ToLowerInvariant().Replace('_', '-')
}

# What a JSON string stands for. Half a surrogate pair becomes U+FFFD, as in docker.
function ConvertFrom-JsonString([string]$Literal) {
    $utf8 = [Text.Encoding]::UTF8
    $utf8.GetString($utf8.GetBytes([regex]::Unescape($Literal.Substring(1, $Literal.Length - 2))))
}

# Throws unless a text is a JSON object. What is JSON shrinks to one mark: strings first, then scalars, then, from the
# innermost on, arrays and objects.
function Assert-Json([string]$Text) {
    $string = "$([char]1)"
    $other = "$([char]2)"
    $length = 0
    $shape = [regex]::Replace([regex]::Replace($Text, $JsonString, $string), $JsonScalar, $other)
    $shape = [regex]::Replace($shape, '[ \t\r\n]+', '')
    if ([regex]::IsMatch($Text, '[\x01\x02]') -or -not [regex]::IsMatch($shape, '\A\{')) { throw 'unsupported not-json' }
    for ($depth = 0; $depth -lt $JsonDepth -and $shape.Length -ne $length; $depth++) {
        $length = $shape.Length
        $shape = [regex]::Replace($shape, '\[(?:[\x01\x02](?:,[\x01\x02])*)?\]|\{(?:\x01:[\x01\x02](?:,\x01:[\x01\x02])*)?\}', $other)
    }
    if (-not [string]::Equals($shape, $other)) { throw 'unsupported not-json' }
}

# The object of a JSON text that begins behind the brace before a place: @{ Start; End; Members } with the places between
# the braces, a member being @{ Name; Start; At; Value; End } with the value as it is written.
function Read-JsonObject([string]$Text, [int]$Start) {
    $object = @{ Start = $Start; End = $Text.IndexOf([char]'}', $Start); Members = [Collections.Generic.List[object]]::new() }
    for ($match = $JsonMember.Match($Text, $Start); $match.Success; $match = $match.NextMatch()) {
        $name = $match.Groups['name']
        $value = $match.Groups['value']
        $object.End = $match.Groups['end'].Index
        $object.Members.Add(@{
            Name = ConvertFrom-JsonString $name.Value; Start = $name.Index
            At = $value.Index; Value = $value.Value; End = $value.Index + $value.Length
        })
    }
    $object
}

# The member of an object with a name, $null where there is none. Docker reads names in any case, and of two the later.
function Find-JsonMember($Object, [string]$Name) {
    if ($null -eq $Object) { return }
    $found = $null
    foreach ($member in $Object.Members) {
        if (-not [string]::Equals($member.Name, $Name, 'OrdinalIgnoreCase')) { continue }
        if ($null -ne $found -or -not [string]::Equals($member.Name, $Name)) { throw 'unsupported odd-proxies' }
        $found = $member
    }
    $found
}

# A daemon.json: @{ Top; Holder; Proxies }, Top being $null where it is blank, Holder the member whose value is Proxies.
function Read-DaemonJson([string]$Text) {
    $document = @{ Top = $null; Holder = $null; Proxies = $null }
    Assert-Size $Text
    if ($Text.IndexOf([char]0xfeff) -eq 0) { throw 'unsupported byte-order-mark' }
    if ($Text.Trim($JsonBlanks).Length -eq 0) { return $document }
    Assert-Json $Text
    $document.Top = Read-JsonObject $Text ($Text.IndexOf([char]'{') + 1)
    $document.Holder = Find-JsonMember $document.Top 'proxies'
    if ($null -ne $document.Holder) {
        if ($document.Holder.Value[0] -cne '{') { throw 'unsupported odd-proxies' }
        $proxies = Read-JsonObject $Text ($document.Holder.At + 1)
        $document.Proxies = $proxies
        foreach ($key in $VariableOrder) {
            $member = Find-JsonMember $proxies (Get-JsonName $key)
            if ($null -eq $member) { continue }
            # No control character may reach a report.
            if ($member.Value[0] -cne '"' -or [regex]::IsMatch((ConvertFrom-JsonString $member.Value), '[\x00-\x1f\x7f]')) {
                throw 'unsupported odd-proxies'
            }
        }
    }
    $document
}

#@writing@

# A text after edits @{ Verb; Key; Value }: set to a value, remove, or restore a line.
function Edit-Carrier([string]$Syntax, [string]$Content, $Edits) {
    if ($Syntax -ceq 'daemon-json') {
        foreach ($edit in $Edits) { $Content = Edit-DaemonJson $Content $edit }
        [void](Read-DaemonJson $Content)
        return $Content
    }
    $entries = Split-Entries $Content
    foreach ($edit in $Edits) {
        $found = Find-Entries $Syntax $entries $edit.Key
        $line = $null
        if ($edit.Verb -ceq 'restore') { $line = $edit.Value }
        if ($edit.Verb -ceq 'set') {
            $line = "$($edit.Key)=$($edit.Value)"
            if ($Syntax -ceq 'machine') { $line = "REG_SZ $line" }
            if ($found.State -ceq 'set' -and (Test-SameValue (Get-ValueKind $edit.Key) $found.Value $edit.Value)) {
                $line = $entries[$found.Last]
            }
        }
        if ($null -eq $line) {
            if ($found.Last -ge 0) { $entries.RemoveAt($found.Last) }
        } elseif ($found.Last -ge 0) {
            $entries[$found.Last] = $line
        } else {
            $entries.Insert($found.Place, $line)
        }
        if ($edit.Verb -cne 'restore') {
            for ($i = $found.Earlier.Count - 1; $i -ge 0; $i--) { $entries.RemoveAt($found.Earlier[$i]) }
        }
    }
    [string]::Concat([string[]]@(foreach ($entry in $entries) { "$entry`n" }))
}

# How the values of a key are compared.
function Get-ValueKind([string]$Key) {
    if ($Key -ceq 'NO_PROXY') { 'list' } else { 'url' }
}

# What stands between two members: the line end and indentation of the first one, or a blank.
function Get-JsonSeparator([string]$Text, $Object) {
    $match = [regex]::Match($Text.Substring($Object.Start, $Object.Members[0].Start - $Object.Start), '\r?\n[^\n]*\z')
    if ($match.Success) { $match.Value } else { ' ' }
}

# A daemon.json after one edit; every byte outside of our members stays.
function Edit-DaemonJson([string]$Text, $Edit) {
    $document = Read-DaemonJson $Text
    $proxies = $document.Proxies
    $name = Get-JsonName $Edit.Key
    $member = Find-JsonMember $proxies $name
    if ($Edit.Verb -ceq 'remove') {
        if ($null -eq $member) { return $Text }
        return Remove-JsonMember $Text $document $member
    }
    $value = $Edit.Value
    if ($Edit.Verb -ceq 'set') {
        $value = '"' + $value.Replace('\', '\\').Replace('"', '\"') + '"'
    } elseif (-not [regex]::IsMatch($value, "\A$JsonString\z")) {
        throw 'unsupported odd-proxies'
    }
    if ($null -eq $member) { return Add-JsonMember $Text $document """$name"": $value" }
    if ($Edit.Verb -ceq 'set' -and (Test-SameValue (Get-ValueKind $Edit.Key) (ConvertFrom-JsonString $member.Value) $Edit.Value)) {
        return $Text
    }
    $Text.Remove($member.At, $member.Value.Length).Insert($member.At, $value)
}

# A daemon.json without a member of proxies, and without proxies when it was the only one.
function Remove-JsonMember([string]$Text, $Document, $Member) {
    $object = $Document.Proxies
    if ($object.Members.Count -eq 1) {
        $object = $Document.Top
        $Member = $Document.Holder
    }
    $at = $object.Members.IndexOf($Member)
    $from = $object.Start
    $to = $object.End
    if ($at -gt 0) {
        $from = $object.Members[$at - 1].End
        $to = $Member.End
    } elseif ($object.Members.Count -gt 1) {
        $from = $Member.Start
        $to = $object.Members[1].Start
    }
    $Text.Remove($from, $to - $from)
}

# A daemon.json with a member behind the others of proxies, which is made where it is missing.
function Add-JsonMember([string]$Text, $Document, [string]$Line) {
    $top = $Document.Top
    $proxies = $Document.Proxies
    if ($null -eq $top -or $top.Members.Count -eq 0) { return "{`n  ""proxies"": {`n    $Line`n  }`n}`n" }
    if ($null -ne $proxies -and $proxies.Members.Count -gt 0) {
        return $Text.Insert($proxies.Members[$proxies.Members.Count - 1].End, ',' + (Get-JsonSeparator $Text $proxies) + $Line)
    }
    $outer = Get-JsonSeparator $Text $top
    $inside = $Line
    if ($outer.Contains("`n")) { $inside = $outer + $outer.Substring($outer.LastIndexOf([char]10) + 1) + $Line + $outer }
    if ($null -ne $proxies) { return $Text.Remove($proxies.Start, $proxies.End - $proxies.Start).Insert($proxies.Start, $inside) }
    $Text.Insert($top.Members[$top.Members.Count - 1].End, ",$outer""proxies"": {" + $inside + '}')
}
