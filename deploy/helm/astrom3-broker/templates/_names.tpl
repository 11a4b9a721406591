{{/* SPDX-License-Identifier: BSD-3-Clause */}}
{{- define "astrom3.name" -}}
{{- $long := printf "%s-%s" .Release.Name .Chart.Name }}
{{- ternary .Release.Name $long (contains .Chart.Name .Release.Name) | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "astrom3.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "astrom3.labels" -}}
{{ include "astrom3.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "astrom3.account" -}}
{{- .Values.serviceAccount.name | default (ternary (include "astrom3.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "astrom3.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default (printf "%s-%s" .Chart.AppVersion (ternary "cuda" "cpu" .Values.gpu.enabled)) }}
{{- end }}

{{/* What cannot work is refused here, with what to do about it. */}}
{{- define "astrom3.check" -}}
{{- $most := ternary .Values.autoscaling.maxReplicas .Values.replicas .Values.autoscaling.enabled | int }}
{{- $named := ternary "autoscaling.maxReplicas" "replicas" .Values.autoscaling.enabled }}
{{- if gt $most (int .Values.partitions) }}
{{- fail (printf "%s is %d, but the input has %d partitions, and the rest would idle: lower it, or add partitions and raise `partitions`" $named $most (int .Values.partitions)) }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) $most) }}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" }}
{{- end }}
{{- if hasPrefix "sqlite" (default "" .Values.settings.store) }}
{{- fail "settings.store: sqlite is a file of one process, and pods come and go; use redis:// (a password belongs into a Secret: settings.store_file)" }}
{{- end }}
{{- if gt (int .Values.gpu.count) 1 }}
{{- fail (printf "gpu.count is %d, but a pod is one process, which uses one GPU, and the rest would idle: set it to 1 and raise replicas" (int .Values.gpu.count)) }}
{{- end }}
{{- if and .Values.bundlesClaim (not .Values.settings.bundles) }}
{{- fail "bundlesClaim is mounted at /bundles; give settings.bundles: /bundles too" }}
{{- end }}
{{- end }}

{{/* The settings' file. */}}
{{- define "astrom3.settings" -}}
{{- $settings := deepCopy .Values.settings }}
{{- if .Values.gpu.enabled }}
{{- $settings = merge $settings (dict "device" "cuda") }}
{{- end }}
{{- toToml $settings }}
{{- end }}

{{/* Ports that the service must reach, with commas between: those given, and those of the addresses in the settings. */}}
{{- define "astrom3.egressPorts" -}}
{{- $settings := .Values.settings }}
{{- $ports := list }}
{{- range .Values.networkPolicy.egressPorts }}
{{- $ports = append $ports (int .) }}
{{- end }}
{{- $addresses := list }}
{{- range splitList "," (printf "%s,%s" (default "" $settings.bootstrap) (default "" $settings.output_bootstrap)) }}
{{- $addresses = append $addresses (ternary (printf "kafka://%s" (regexReplaceAll "^.*://" (trim .) "")) "" (ne (trim .) "")) }}
{{- end }}
{{- range list "registry" "input_registry" "store" }}
{{- $addresses = append $addresses (get $settings . | default "") }}
{{- end }}
{{- range list "source" "sink" }}
{{- $addresses = append $addresses (get (get (default dict $settings.kafka) . | default dict) "sasl.oauthbearer.token.endpoint.url" | default "") }}
{{- end }}
{{- if or $settings.registry_file $settings.input_registry_file }}
{{- $addresses = append $addresses "http://secret:8081" }}
{{- end }}
{{- if $settings.store_file }}
{{- $addresses = append $addresses "redis://secret" }}
{{- end }}
{{- $usual := dict "kafka" 9092 "http" 80 "https" 443 "redis" 6379 "rediss" 6379 }}
{{- range $addresses }}
{{- $scheme := regexFind "^[a-z]+://" . | trimSuffix "://" }}
{{- if hasKey $usual $scheme }}
{{- $server := regexReplaceAll "[/?#].*$" (trimPrefix (printf "%s://" $scheme) .) "" }}
{{- $ports = append $ports (regexFind ":[0-9]+$" $server | trimPrefix ":" | default (get $usual $scheme) | int) }}
{{- end }}
{{- end }}
{{- $ports | uniq | join "," }}
{{- end }}
