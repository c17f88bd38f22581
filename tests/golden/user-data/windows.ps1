# The proxy settings of policy ecs-production for Windows Server, made by proxyfleet. Runs at every boot, and by hand.
$WantHttp = 'http://10.0.0.131:3128'
$WantHttps = 'http://10.0.0.131:3128'
$WantBypass = '169.254.169.254,169.254.170.2,host-00000.example.com,host-00001.example.com'
$Requested = @('ecs-agent', 'docker', 'machine-environment')
$DockerRestart = 'defer'
$Policy = 'ecs-production'
$Cluster = 'production'
Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
[Threading.Thread]::CurrentThread.CurrentCulture = [Globalization.CultureInfo]::InvariantCulture
foreach ($name in 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'ALL_PROXY', 'FTP_PROXY') {
 [Environment]::SetEnvironmentVariable($name, [NullString]::Value)
}
$HomeFolder = 'C:\ProgramData\proxyfleet'
$Utf8 = New-Object Text.UTF8Encoding $false, $true
function Split-Words([string]$Keys, $Texts) {
 $names = $Keys.Split(' ')
 foreach ($text in $Texts) {
  $words = $text.Split([char[]]' ', $names.Length)
  $row = @{}
  for ($i = 0; $i -lt $names.Length; $i++) { $row[$names[$i]] = $words[$i] }
  $row
 }
}
$Platform = 'windows'
$Builds = '14393', '17763', '20348', '26100'
$Services = @(@{ Name = 'docker'; Real = 'docker' }, @{ Name = 'ecs'; Real = 'AmazonECS' }, @{ Name = 'ssm-agent'; Real = 'AmazonSSMAgent' })
$DockerPipe = '\\.\pipe\docker_engine'
$AgentFolder = 'C:\ProgramData\Amazon\ECS\data'
$Components = @(
@{ Name = 'ecs-agent'
 Service = 'ecs'
 Written = $true
 Probe = 'start-record'
 Carriers = @(Split-Words 'Syntax Path' @('multi-sz HKLM\SYSTEM\CurrentControlSet\Services\AmazonECS\Environment'))
 Settings = @(Split-Words 'Key Kind Rule' @('HTTP_PROXY url http', 'HTTPS_PROXY url https', 'NO_PROXY list bypass-pipe'))
 Rivals = @(Split-Words 'Kind Path' @())
},
@{ Name = 'docker'
 Service = 'docker'
 Written = $true
 Probe = 'docker-info'
 Carriers = @(Split-Words 'Syntax Path' @('daemon-json C:\ProgramData\docker\config\daemon.json', 'multi-sz HKLM\SYSTEM\CurrentControlSet\Services\docker\Environment'))
 Settings = @(Split-Words 'Key Kind Rule' @('HTTP_PROXY url http', 'HTTPS_PROXY url https', 'NO_PROXY list bypass'))
 Rivals = @(Split-Words 'Kind Path' @('command-line HKLM\SYSTEM\CurrentControlSet\Services\docker\ImagePath'))
},
@{ Name = 'machine-environment'
 Service = ''
 Written = $true
 Probe = 'none'
 Carriers = @(Split-Words 'Syntax Path' @('machine HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment'))
 Settings = @(Split-Words 'Key Kind Rule' @('HTTP_PROXY url http', 'HTTPS_PROXY url https', 'NO_PROXY list bypass-all'))
 Rivals = @(Split-Words 'Kind Path' @())
}
)
function New-List {
 , (New-Object 'Collections.Generic.List[object]')
}
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
function ConvertTo-Printable([string]$Text) {
 [regex]::Replace($Text, '[^ -~]', '?')
}
function Write-Lines($Lines) {
 foreach ($line in $Lines) { [Console]::Out.Write((ConvertTo-Printable $line) + "`n") }
 [Console]::Out.Flush()
}
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
  $process.StandardInput.Close()
  $text = $process.StandardOutput.ReadToEndAsync()
  $errors = $process.StandardError.ReadToEndAsync()
  if (-not $process.WaitForExit($Seconds * 1000)) {
   $process.Kill()
   return $null
  }
  if (-not $text.Wait(2000)) { return $null }
  [void]$errors.Wait(100)
  return @{ Exit = $process.ExitCode; Text = $text.Result }
 } catch {
  return $null
 } finally {
  $process.Dispose()
 }
}
$JsonBlanks = [char[]]" `t`r`n"
$JsonBlank = '[ \t\r\n]*'
$JsonString = '"(?>[^"\\\x00-\x1f]+|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"'
$JsonScalar = '-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null'
$JsonNested = "[\[{](?>$JsonString|[^][{}""]+|(?<open>[\[{])|(?<-open>[\]}]))*[\]}]"
$JsonMember = [regex]"\G$JsonBlank(?<name>$JsonString)$JsonBlank`:$JsonBlank(?<value>$JsonString|$JsonNested|$JsonScalar)$JsonBlank(?<end>[,}])"
$JsonDepth = 127
$VariableOrder = 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'
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
function Test-SameValue([string]$Kind, [string]$Left, [string]$Right) {
 if ([string]::Equals($Left, $Right)) { return $true }
 $Kind -ceq 'list' -and [string]::Equals((Get-NormalList $Left), (Get-NormalList $Right))
}
function Get-NormalList([string]$List) {
 $lower = [regex]::Replace($List, '[A-Z]+', { $args[0].Value.ToLowerInvariant() })
 $entries = [Collections.Generic.SortedSet[string]]::new([StringComparer]::Ordinal)
 foreach ($entry in $lower.Split([char]',')) {
  $entry = $entry.Trim([char[]]" `t")
  if ($entry.Length -gt 0) { [void]$entries.Add($entry) }
 }
 $entries -join ','
}
function Assert-Size([string]$Content) {
 if ([Text.Encoding]::UTF8.GetByteCount($Content) -gt 262144) { throw 'unsupported too-large' }
}
function Split-Entries([string]$Content) {
 Assert-Size $Content
 if ($Content.IndexOfAny([char[]](0, 13)) -ge 0) { throw 'unsupported not-text' }
 $entries = [Collections.Generic.List[string]]::new()
 $entries.AddRange($Content.Split([char]10))
 if ($entries[$entries.Count - 1].Length -eq 0) { $entries.RemoveAt($entries.Count - 1) }
 , $entries
}
function Find-Entries([string]$Syntax, $Entries, [string]$Key) {
 $kinds = @{ 'multi-sz' = '(?<kind>)'; 'machine' = '(?<kind>REG_SZ|REG_EXPAND_SZ) ' }[$Syntax]
 $found = @{ Last = -1; Earlier = [Collections.Generic.List[int]]::new(); State = 'unset'; Value = ''; Place = -1 }
 for ($i = 0; $i -lt $Entries.Count; $i++) {
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
   if ($match.Groups['kind'].Length -gt 6 -and $found.Value.Contains('%')) { $found.State = 'malformed' }
  } elseif ($Syntax -ceq 'machine' -and $found.Place -lt 0 -and (Get-VariableRank $name) -gt (Get-VariableRank $Key)) {
   $found.Place = $i
  }
 }
 if ($found.Place -lt 0) { $found.Place = $Entries.Count }
 $found
}
function Get-VariableRank([string]$Name) {
 [Array]::IndexOf($VariableOrder, $Name.ToUpperInvariant())
}
function Get-JsonName([string]$Key) {
 $Key.ToLowerInvariant().Replace('_', '-')
}
function ConvertFrom-JsonString([string]$Literal) {
 $utf8 = [Text.Encoding]::UTF8
 $utf8.GetString($utf8.GetBytes([regex]::Unescape($Literal.Substring(1, $Literal.Length - 2))))
}
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
   if ($member.Value[0] -cne '"' -or [regex]::IsMatch((ConvertFrom-JsonString $member.Value), '[\x00-\x1f\x7f]')) {
    throw 'unsupported odd-proxies'
   }
  }
 }
 $document
}
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
function Get-ValueKind([string]$Key) {
 if ($Key -ceq 'NO_PROXY') { 'list' } else { 'url' }
}
function Get-JsonSeparator([string]$Text, $Object) {
 $match = [regex]::Match($Text.Substring($Object.Start, $Object.Members[0].Start - $Object.Start), '\r?\n[^\n]*\z')
 if ($match.Success) { $match.Value } else { ' ' }
}
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
$MaxBytes = 262144
function Split-Hive([string]$Path) {
 $parts = $Path.Split([char[]]'\', 2)
 $hive = [Microsoft.Win32.Registry]::LocalMachine
 if ($parts[0] -eq 'HKU') { $hive = [Microsoft.Win32.Registry]::Users }
 @{ Hive = $hive; Path = $parts[1] }
}
function Open-Key([string]$Path, [bool]$Writable) {
 $place = Split-Hive $Path
 $place.Hive.OpenSubKey($place.Path, $Writable)
}
function Find-ValueName($Key, [string]$Name) {
 foreach ($known in $Key.GetValueNames()) {
  if ([string]::Equals($known, $Name, 'OrdinalIgnoreCase')) { return $known }
 }
}
function Read-Carrier($Carrier, $Keys) {
 try {
  if ($Carrier.Syntax -eq 'multi-sz') { return Read-Strings $Carrier.Path }
  if ($Carrier.Syntax -eq 'machine') { return Read-Variables $Carrier.Path $Keys }
  return Read-File $Carrier.Path
 } catch {
  return @{ Exists = $true; Content = ''; Reason = 'unreadable' }
 }
}
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
    if ($text.Length -eq 0 -or $text.IndexOfAny([char[]](0, 10, 13)) -ge 0) { $result.Reason = 'not-text' }
    [void]$content.Append($text).Append("`n")
   }
   $result.Content = "$content"
  }
 }
 $key.Close()
 $result
}
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
   $result.Content = $Utf8.GetString($bytes)
  } catch {
   $result.Reason = 'not-text'
  }
 }
 $result
}
function Test-Unchanged($Carrier, $Keys, $Read) {
 $now = Read-Carrier $Carrier $Keys
 $now.Exists -eq $Read.Exists -and $now.Reason -eq $Read.Reason -and [string]::Equals($now.Content, $Read.Content)
}
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
function Write-Strings([string]$Path, [string]$Content) {
 $at = $Path.LastIndexOf('\')
 $key = Open-Key $Path.Substring(0, $at) $true
 $name = $Path.Substring($at + 1)
 try {
  if ($Content.Length -eq 0) {
   $key.DeleteValue($name, $false)
  } else {
   $strings = $Content.Substring(0, $Content.Length - 1).Split("`n"[0])
   $key.SetValue($name, [string[]]$strings, 'MultiString')
  }
  $key.Flush()
 } finally {
  $key.Close()
 }
}
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
function Write-Variables([string]$Path, [string]$Old, [string]$New) {
 $before = Split-Variables $Old
 $after = Split-Variables $New
 $key = Open-Key $Path $true
 try {
  foreach ($name in @($before.Keys)) {
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
function Get-TemporaryPath([string]$Path) {
 "$([IO.Path]::GetDirectoryName($Path))\.$([IO.Path]::GetFileName($Path)).proxyfleet.$PID"
}
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
function Remove-File([string]$Path) {
 if (-not [IO.File]::Exists($Path)) { return }
 [IO.File]::SetAttributes($Path, 'Normal')
 [IO.File]::Delete($Path)
}
$RecordFile = "$HomeFolder\managed"
$StartedFile = "$HomeFolder\started"
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
function Get-RecordName($Row, $Carrier) {
 if ($Carrier.Path -eq $Row.Carriers[0].Path) { return $Row.Name }
 "$($Row.Name):$($Carrier.Syntax)"
}
function Find-Started($Started, [string]$Component, [string]$Key) {
 foreach ($line in $Started) {
  $field = $line.Split([char[]]"`t", 4)
  if ($field.Length -eq 4 -and $field[0] -eq $Component -and $field[1] -eq $Key) {
   return @{ State = $field[2]; Value = $field[3] }
  }
 }
}
function Write-Notes([string]$Path, $Lines) {
 if (@($Lines).Count -eq 0) {
  Remove-File $Path
 } else {
  Write-File $Path ((@($Lines) -join "`n") + "`n")
 }
}
function Get-RealName([string]$Service) {
 foreach ($known in $Services) { if ($known.Name -eq $Service) { return $known.Real } }
}
function Get-ServiceState([string]$Service) {
 $real = Get-RealName $Service
 $found = @(Get-Service -Name $real -ErrorAction SilentlyContinue)
 if ($found.Count -eq 0) { return 'absent' }
 if ("$($found[0].Status)" -eq 'Running') { return 'active' }
 $key = Open-Key "HKLM\SYSTEM\CurrentControlSet\Services\$real" $false
 if ($null -ne $key -and $key.GetValue('Start', 3) -eq 2) { return 'due' }
 'inactive'
}
function Invoke-Docker([string]$Arguments) {
 $path = @($env:PATH, [Environment]::GetEnvironmentVariable('PATH', 'Machine'), "$env:ProgramFiles\docker") -join ';'
 foreach ($folder in $path.Split(';')) {
  $client = "$($folder.Trim().Trim('"').TrimEnd('\'))\docker.exe"
  if ($folder.Trim() -eq '' -or -not [IO.File]::Exists($client)) { continue }
  $answer = Invoke-Program $client $Arguments 10
  if ($null -ne $answer -and $answer.Exit -eq 0) { return $answer.Text }
  return
 }
}
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
$Lock = $null
function Enter-Lock([int]$Seconds) {
 try {
  $script:Lock = New-Object Threading.Mutex $false, 'Global\proxyfleet'
 } catch {
  return $false
 }
 try {
  return $Lock.WaitOne($Seconds * 1000)
 } catch [Threading.AbandonedMutexException] {
  return $true
 }
}
function Test-GoesAlong([string]$Service) {
 $key = Open-Key "HKLM\SYSTEM\CurrentControlSet\Services\$(Get-RealName $Service)" $false
 if ($null -eq $key) { return $false }
 $needs = @($key.GetValue('DependOnService', @()))
 $key.Close()
 $needs -contains (Get-RealName 'docker')
}
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
function Restart-One([string]$Service) {
 $real = Get-RealName $Service
 Invoke-Start $Service { Restart-Service -Name $real -Force -WarningAction SilentlyContinue }
}
function Start-One([string]$Service) {
 if ((Get-ServiceState $Service) -eq 'active') { return $true }
 $real = Get-RealName $Service
 Invoke-Start $Service { Start-Service -Name $real -WarningAction SilentlyContinue }
}
function Restart-Docker {
 $real = Get-RealName 'docker'
 $ecs = Get-ServiceState 'ecs'
 $block = {
  try {
   Restart-Service -Name $real -Force -WarningAction SilentlyContinue
  } catch {
   if ((Get-ServiceState 'docker') -ne 'active') { throw }
  }
 }
 if ($ecs -eq 'active' -and (Test-GoesAlong 'ecs')) { return Invoke-Start 'ecs' $block }
 Invoke-Start 'docker' $block
}
function Select-Carrier($Row, $Docker, $States) {
 $chosen = $Row.Carriers[0]
 if ($Row.Carriers.Count -gt 1 -and $States[$Row.Service] -ne 'absent') {
  if ($Docker.Major -eq 0) { return $null }
  if ($Docker.Major -lt 23) { $chosen = $Row.Carriers[1] }
 }
 $carrier = @{ Row = $Row; Path = $chosen.Path; Syntax = $chosen.Syntax }
 $carrier.Read = Read-Carrier $carrier (Get-Keys $Row)
 $carrier
}
function Get-Keys($Row) {
 foreach ($setting in $Row.Settings) { $setting.Key }
}
function Add-Settings($Facts, $Row, $Carrier, $Docker, $Started) {
 $reason = ''
 if ($null -ne $Carrier) { $reason = $Carrier.Read.Reason }
 foreach ($setting in $Row.Settings) {
  $found = @{ State = 'unknown'; Value = ''; Line = $null }
  if ($null -ne $Carrier -and $reason -eq '') {
   try {
    $found = Get-CarrierSetting $Carrier.Syntax $Carrier.Read.Content $setting.Key
   } catch {
    $reason = Get-Unsupported $_
   }
  }
  $Facts.Settings.Add(@{
   Row = $Row; Key = $setting.Key; Kind = $setting.Kind; Line = $found.Line
   Carrier = @{ State = $found.State; Value = "$($found.Value)" }
   Running = Get-Running $Row $setting.Key $found $Facts.Services $Docker $Started
  })
 }
 if ($reason -ne '') { $Facts.Blocked.Add(@{ Component = $Row.Name; Reason = $reason; Path = $Carrier.Path }) }
}
function Get-Unsupported($Failure) {
 if ($Failure.Exception.Message -cnotmatch '^unsupported ([a-z-]+)$') { throw $Failure }
 $Matches[1]
}
function Get-Running($Row, [string]$Key, $Found, $States, $Docker, $Started) {
 $truth = @{ State = 'na'; Value = '' }
 if ($Row.Service -eq '' -or $States[$Row.Service] -ne 'active') { return $truth }
 if ($Row.Probe -eq 'hidden') {
  $truth.State = 'unknown'
 } elseif ($Row.Probe -eq 'docker-info') {
  $truth.State = 'unset'
  if ($Docker.Values.ContainsKey($Key)) { $truth = @{ State = 'set'; Value = $Docker.Values[$Key] } }
  if (-not $Docker.Answers) { $truth.State = 'unknown' }
 } elseif ($Row.Probe -eq 'start-record') {
  $truth.State = 'unproven'
  $noted = Find-Started $Started $Row.Name $Key
  if ($null -ne $noted -and $noted.State -ceq $Found.State -and [string]::Equals($noted.Value, "$($Found.Value)")) {
   $truth = $noted
  }
 }
 $truth
}
function Add-CommandLine($Facts, $Row, [string]$Path) {
 $at = $Path.LastIndexOf('\')
 $key = Open-Key $Path.Substring(0, $at) $false
 if ($null -eq $key) { return }
 $line = "$($key.GetValue($Path.Substring($at + 1), '', 'DoNotExpandEnvironmentNames'))"
 $key.Close()
 foreach ($option in @('flag', '(http|https|no)-proxy'), @('other-config-file', 'config-file')) {
  if ($line -cmatch "(^|[\s""])--$($option[1])($|[=\s""])") {
   $Facts.Blocked.Add(@{ Component = $Row.Name; Reason = $option[0]; Path = $Path })
  }
 }
}
function Get-Wanted([string]$Rule) {
 if ($Rule -eq 'http') { return $WantHttp }
 if ($Rule -eq 'https') { return $WantHttps }
 $list = $WantBypass
 if ($Rule -eq 'bypass-all') { $list = Add-Subdomains $list }
 if ($Rule -ne 'bypass') { $list = "$list,$DockerPipe" }
 $list
}
function Add-Subdomains([string]$List) {
 $entries = @($List.Split(',') | Where-Object { $_ -ne '' })
 $all = foreach ($entry in $entries) {
  $entry
  if ($entry -cmatch '^[^.*:/][^:/]*$' -and $entry -cmatch '[^0-9.]' -and $entries -notcontains ".$entry") { ".$entry" }
 }
 $all -join ','
}
function Test-Right([string]$Kind, $Truth, [string]$State, [string]$Value) {
 if ($State -ne $Truth.State) { return $false }
 if ($State -eq 'set') { return Test-SameValue $Kind $Truth.Value $Value }
 $State -eq 'unset' -or [string]::Equals($Truth.Value, $Value)
}
function Get-Written($Facts, $Setting) {
 foreach ($line in $Facts.Record) {
  if ($line.Component -ceq $Setting.Row.Name -and $line.Key -ceq $Setting.Key) { $line }
 }
}
function Add-Present($Decision, $Facts, $Setting, $Written) {
 $row = $Setting.Row
 $key = $Setting.Key
 $wanted = Get-Wanted (@($row.Settings | Where-Object { $_.Key -ceq $key })[0].Rule)
 if (-not (Test-Right $Setting.Kind $Setting.Carrier 'set' $wanted)) {
  $Decision.Edits.Add(@{ Component = $row.Name; Verb = 'set'; Key = $key; Value = $wanted })
  $Decision.Record.Add((Get-RecordLine $Facts $Setting $Written $wanted))
 }
 $running = $Setting.Running
 if ((Test-Unknown $Decision $Setting) -or
  ($running.State -ne 'na' -and -not (Test-Right $Setting.Kind $running 'set' $wanted))) {
  Add-Restart $Decision $Facts $row.Service
 }
}
function Get-RecordLine($Facts, $Setting, $Written, [string]$Wanted) {
 $carrier = $Facts.Carriers[$Setting.Row.Name]
 $field = @((Get-RecordName $Setting.Row $carrier), $Setting.Key, $Policy)
 if ($Written.Count -gt 0) {
  $first = $Written[0]
  $field += $first.Created, $first.State, $Wanted, $first.Prior, $first.PriorLine
 } else {
  $created = 'existed'
  if ($carrier.Syntax -eq 'daemon-json' -and -not $carrier.Read.Exists) { $created = 'created' }
  $field += $created, $Setting.Carrier.State, $Wanted, $Setting.Carrier.Value.Replace("`t", ' '), "$($Setting.Line)"
 }
 $field -join "`t"
}
function Test-Unknown($Decision, $Setting) {
 $state = $Setting.Running.State
 $state -eq 'unknown' -or ($state -eq 'na' -and $Decision.Proven -contains $Setting.Row.Service)
}
function Add-Restart($Decision, $Facts, [string]$Service) {
 if ($Service -ne '' -and $Facts.Services[$Service] -eq 'active') { $Decision.Restart[$Service] = $true }
}
function Initialize-Home {
 try {
  [void][IO.Directory]::CreateDirectory($HomeFolder)
  $link = [IO.File]::GetAttributes($HomeFolder) -band [IO.FileAttributes]::ReparsePoint
  $security = New-Object Security.AccessControl.DirectorySecurity $HomeFolder, 'Owner'
  $owner = $security.GetOwner([Security.Principal.SecurityIdentifier]).Value
 } catch {
  Stop-Refused 'not-writable' $HomeFolder
 }
 $own = [Security.Principal.WindowsIdentity]::GetCurrent().User.Value
 if ($link -or @('S-1-5-18', 'S-1-5-32-544', $own) -notcontains $owner) { Stop-Refused 'not-ours' $HomeFolder }
 $rights = '/inheritance:r /grant:r *S-1-5-18:(OI)(CI)F *S-1-5-32-544:(OI)(CI)F /q'
 [void](Invoke-Program "$([Environment]::SystemDirectory)\icacls.exe" "$HomeFolder $rights" 10)
}
function Restore-Carrier($Change) {
 $carrier = $Change.Carrier
 try {
  $now = Read-Carrier $carrier (Get-Keys $carrier.Row)
  $old = $carrier.Read.Content
  if ($now.Exists -eq $carrier.Read.Exists -and $now.Reason -eq '' -and [string]::Equals($now.Content, $old)) { return $true }
  if ($carrier.Syntax -eq 'daemon-json' -and -not $carrier.Read.Exists) { $old = $null }
  Write-Carrier $carrier $now.Content $old
  return $true
 } catch {
  return $false
 }
}
$WantState = 'present'
$LockSeconds = 60
$VerifySeconds = 60
if ("$env:PROXYFLEET_ROUTE" -ne '' -and "$env:PROXYFLEET_WAIT" -cmatch '^[0-9]{1,3}$') {
 $LockSeconds = [int]$env:PROXYFLEET_WAIT
 $VerifySeconds = $LockSeconds
}
$Run = @{
 Wanted = $Requested; Facts = $null; Decision = $null; Refused = $null; Record = @(); Lines = @(); Written = @()
 Changed = @(); Ran = @(); Started = @(); Deferred = ''; Failed = $false
}
function Write-Complaint([string]$Text) {
 [Console]::Error.Write((ConvertTo-Printable "proxyfleet: $Text") + "`n")
 $Run.Failed = $true
}
function Stop-Boot {
 if ($null -ne $Lock) { $Lock.Dispose() }
 exit ([int]$Run.Failed)
}
function Stop-Refused([string]$Reason, [string]$Text) {
 Write-Complaint "nothing changed: $Reason $Text"
 Stop-Boot
}
function Get-Work {
 $facts = @{ Services = @{}; Carriers = @{}; Settings = New-List; Blocked = New-List; Record = New-List }
 foreach ($service in $Services) { $facts.Services[$service.Name] = Get-ServiceState $service.Name }
 $docker = Read-Docker $facts.Services['docker']
 $started = @(Read-Notes $StartedFile)
 $Run.Facts = $facts
 $Run.Decision = @{ Edits = New-List; Record = New-List; Restart = @{}; Proven = @() }
 $Run.Refused = @{}
 foreach ($row in $Components) {
  if ($Requested -cnotcontains $row.Name) { continue }
  $facts.Settings.Clear()
  $reason = Add-Component $row $docker $started
  if ($reason -ne '') {
   $Run.Refused[$row.Name] = $reason
   continue
  }
  foreach ($setting in $facts.Settings) {
   Add-Present $Run.Decision $facts $setting @(Get-Written $facts $setting)
  }
 }
}
function Add-Component($Row, $Docker, $Started) {
 $facts = $Run.Facts
 if ($facts.Services[$Row.Service] -eq 'absent') { return 'component-absent' }
 $carrier = Select-Carrier $Row $Docker $facts.Services
 if ($null -eq $carrier) { return "unsupported docker-version $($Row.Carriers[0].Path)" }
 $facts.Carriers[$Row.Name] = $carrier
 $facts.Blocked.Clear()
 Add-Settings $facts $Row $carrier $Docker $Started
 foreach ($rival in $Row.Rivals) {
  if ($rival.Kind -eq 'command-line' -and $carrier.Syntax -eq 'daemon-json') { Add-CommandLine $facts $Row $rival.Path }
 }
 foreach ($block in $facts.Blocked) { return "unsupported $($block.Reason) $($block.Path)" }
 foreach ($setting in $facts.Settings) { if ($setting.Running.State -eq 'unknown') { return 'unreadable' } }
 foreach ($line in Read-Record) {
  if ($line.Component -cne (Get-RecordName $Row $carrier)) { continue }
  $line.Component = $Row.Name
  $facts.Record.Add($line)
 }
 ''
}
function Write-Changes {
 $Run.Lines = $Run.Decision.Record.ToArray()
 if ($Run.Lines.Count -gt 0) { Write-Notes $RecordFile ($Run.Record + $Run.Lines) }
 foreach ($row in $Components) {
  $edits = @($Run.Decision.Edits | Where-Object { $_.Component -ceq $row.Name })
  if ($edits.Count -eq 0) { continue }
  $carrier = $Run.Facts.Carriers[$row.Name]
  $reason = Write-Change $carrier $edits
  if ($reason -eq '') {
   $Run.Written += $carrier
  } else {
   Remove-Component $row "$reason $($carrier.Path)"
  }
 }
}
function Write-Change($Carrier, $Edits) {
 try {
  $new = Edit-Carrier $Carrier.Syntax $Carrier.Read.Content $Edits
 } catch {
  return "unsupported $(Get-Unsupported $_)"
 }
 if (-not (Test-Unchanged $Carrier (Get-Keys $Carrier.Row) $Carrier.Read)) { return 'changed-meanwhile' }
 try {
  if ($Carrier.Syntax -eq 'daemon-json') { [void][IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($Carrier.Path)) }
  Write-Carrier $Carrier $Carrier.Read.Content $new
 } catch {
  return 'not-writable'
 }
 ''
}
function Remove-Component($Row, [string]$Reason) {
 Write-Complaint "$($Row.Name) not changed: $Reason"
 $Run.Wanted = @($Run.Wanted | Where-Object { $_ -cne $Row.Name })
 $script:Requested = @($Requested | Where-Object { $_ -cne $Row.Name })
 $Run.Decision.Restart.Remove($Row.Service)
 $lines = @($Run.Lines | Where-Object { $_ -cnotmatch "^$($Row.Name)[:`t]" })
 if ($lines.Count -lt $Run.Lines.Count) { Write-Notes $RecordFile ($Run.Record + $lines) }
 $Run.Lines = $lines
}
function Test-MayRestart {
 if ($DockerRestart -eq 'allow') { return $true }
 $containers = Invoke-Docker 'ps -q'
 $null -ne $containers -and $containers.Trim() -eq ''
}
function Restart-Stale([string]$Way) {
 $restart = $Run.Decision.Restart
 $ecs = $Run.Facts.Services['ecs']
 $needs = @($Run.Written | Where-Object { $_.Row.Service -eq 'ecs' }).Count -gt 0
 $along = $false
 if ($restart['docker']) {
  $needs = $true
  $Run.Started += 'docker'
  $along = $ecs -eq 'active' -and (Test-GoesAlong 'ecs')
  [void](Restart-Docker)
 }
 if ($along -or ($needs -and $ecs -eq 'due' -and $Way -eq '' -and $Run.Ran -contains 'docker')) {
  $Run.Started += 'ecs'
  [void](Start-One 'ecs')
 } elseif ($restart['ecs']) {
  $Run.Started += 'ecs'
  [void](Restart-One 'ecs')
 }
}
function Wait-Services {
 $end = [DateTime]::UtcNow.AddSeconds($VerifySeconds)
 while ($true) {
  Get-Work
  $late = @(
   foreach ($name in 'docker', 'ecs') {
    $down = ($Run.Ran + $Run.Started) -contains $name -and $Run.Facts.Services[$name] -ne 'active'
    if ($down) { [void](Start-One $name) }
    $wrong = $Run.Decision.Restart[$name] -or ($name -eq 'docker' -and $Run.Refused['docker'])
    if ($down -or ($wrong -and $Run.Deferred -ne $name)) { $name }
   }
  )
  if ($late.Count -eq 0 -or [DateTime]::UtcNow -ge $end) { return $late }
  Start-Sleep -Seconds 1
 }
}
function Undo-Docker {
 foreach ($carrier in $Run.Written) {
  if ($carrier.Row.Service -ne 'docker') { continue }
  if (-not (Restore-Carrier @{ Carrier = $carrier })) { Write-Complaint "not-writable $($carrier.Path)" }
  Remove-Component $carrier.Row 'it does not start with these settings'
 }
 [void](Restart-Docker)
 Wait-Services
}
function Complete-Record {
 $old = @(Read-Notes $RecordFile)
 $last = [ordered]@{}
 foreach ($line in $old) {
  $field = $line.Split("`t"[0])
  $name = $line
  if ($Requested -ccontains $field[0].Split(':')[0]) { $name = "$($field[0]) $($field[1])" }
  $last[$name] = $line
 }
 if ($last.Count -lt $old.Count) { Write-Notes $RecordFile @($last.Values) }
}
function Write-StartNote {
 $found = @(Get-Service -Name (Get-RealName 'ecs') -ErrorAction SilentlyContinue)
 if ($found.Count -eq 0 -or "$($found[0].Status)" -ne 'Stopped' -or $Requested -cnotcontains 'ecs-agent') { return }
 $lines = @(Get-StartLines 'ecs')
 if (($lines -join "`n") -cne (@(Read-Notes $StartedFile) -join "`n")) { Write-Notes $StartedFile $lines }
}
function Invoke-Pass([string]$Way) {
 $script:Requested = $Run.Wanted
 $Run.Record = @(Read-Notes $RecordFile)
 $Run.Lines = @()
 $Run.Written = @()
 Get-Work
 $Run.Ran = @('docker', 'ecs' | Where-Object { $Run.Facts.Services[$_] -eq 'active' })
 foreach ($row in $Components) {
  $reason = "$($Run.Refused[$row.Name])"
  if ($reason -eq 'component-absent' -and $Way -eq 'join' -and $row.Service -eq 'ecs') {
   $script:Requested = @($Requested | Where-Object { $_ -cne $row.Name })
  } elseif ($reason -ne '') {
   Remove-Component $row $reason
  }
 }
 $Run.Deferred = ''
 if ($Run.Decision.Restart['docker'] -and -not (Test-MayRestart)) {
  $Run.Deferred = 'docker'
  $Run.Decision.Restart.Remove('docker')
 }
 if ($Run.Decision.Edits.Count -gt 0 -or $Run.Decision.Restart.Count -gt 0) {
  Write-Changes
  Restart-Stale $Way
  $late = @(Wait-Services)
  if ($late -contains 'docker' -and -not (Read-Docker (Get-ServiceState 'docker')).Answers) { $late = @(Undo-Docker) }
  foreach ($name in $late) { Write-Complaint "$name does not run with the new settings" }
 }
 $Run.Changed += @($Run.Written | ForEach-Object { $_.Row.Name } | Where-Object { $Requested -ccontains $_ })
 Complete-Record
 Write-StartNote
}
function Get-Way {
 if ($Cluster -eq '') { return '' }
 $current = "$([Environment]::GetEnvironmentVariable('ECS_CLUSTER', 'Machine'))"
 if ($current -eq '') {
  $folder = "$([Environment]::GetEnvironmentVariable('ECS_DATADIR', 'Machine'))"
  if ($folder -eq '') { $folder = $AgentFolder }
  if (-not [IO.File]::Exists("$folder\agent.db") -and -not [IO.File]::Exists("$folder\ecs_agent_data.json")) { return 'join' }
  Write-Complaint 'ECS_CLUSTER not set: the agent has registered already'
 } elseif ($current -cne $Cluster) {
  Write-Complaint "ECS_CLUSTER not set: this host is in the cluster $current"
 } elseif ((Get-ServiceState 'ecs') -ne 'active') {
  return 'start'
 }
 ''
}
function Start-Agent([string]$Way) {
 $block = { Start-Service -Name (Get-RealName 'ecs') -WarningAction SilentlyContinue }
 if ($Way -eq 'join') {
  $block = {
   Import-Module ECSTools
   Initialize-ECSAgent -Cluster $Cluster -EnableTaskIAMRole
  }
 }
 $Run.Started += 'ecs'
 $good = Invoke-Start 'ecs' $block
 $end = [DateTime]::UtcNow.AddSeconds($VerifySeconds)
 while ((Get-ServiceState 'ecs') -ne 'active' -and $good) {
  $good = [DateTime]::UtcNow -lt $end
  Start-Sleep -Seconds 1
 }
 if (-not $good) { Write-Complaint "ecs did not start ($Way)" }
}
function Invoke-Boot {
 $system = Get-System
 if (-not $system.Known) { Stop-Refused 'wrong-platform' "this is windows $($system.Version)" }
 Initialize-Home
 if (-not (Enter-Lock $LockSeconds)) { Stop-Refused 'busy' 'an apply is at work' }
 $way = Get-Way
 Invoke-Pass $way
 if ($way -ne '') {
  Start-Agent $way
  Invoke-Pass ''
 }
 $lines = @("proxyfleet: policy $Policy, changed: $($Run.Changed -join ' ')")
 if ($Run.Changed.Count -eq 0) { $lines[0] += 'nothing' }
 $started = @('docker', 'ecs' | Where-Object { $Run.Started -contains $_ })
 if ($started.Count -gt 0) { $lines += "proxyfleet: started: $($started -join ' ')" }
 if ($Run.Deferred -ne '') { $lines += 'proxyfleet: docker runs with its old settings until it is restarted' }
 Write-Lines $lines
 Stop-Boot
}
try {
 Invoke-Boot
} catch {
 Write-Complaint "internal: line $($_.InvocationInfo.ScriptLineNumber): $($_.Exception.GetType().Name)"
 Stop-Boot
}
