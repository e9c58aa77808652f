// Records ../builtin.txt: the fields of the kinds built into Kubernetes as its Go types have them, for
// objects that pass through those types on their way to the server.
//
//	cd record && go mod tidy && go run . > ../builtin.txt
//
// Lines `apiVersion Kind type` for the kinds, then `type field=shape …` for the types. `?=` marks fields
// that are left out when empty. Shapes: s text, b boolean, i integer, f number, y bytes, q quantity,
// x number or text, o anything, *T optional, [T list, {T map, and the names of types.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	admission "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling1 "k8s.io/api/autoscaling/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	flowcontrol "k8s.io/api/flowcontrol/v1"
	networking "k8s.io/api/networking/v1"
	node "k8s.io/api/node/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	resource "k8s.io/api/resource/v1"
	scheduling "k8s.io/api/scheduling/v1"
	storage "k8s.io/api/storage/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var kinds = map[string][]any{
	"v1": {core.ConfigMap{}, core.Endpoints{}, core.LimitRange{}, core.Namespace{}, core.PersistentVolume{},
		core.PersistentVolumeClaim{}, core.Pod{}, core.PodTemplate{}, core.ReplicationController{},
		core.ResourceQuota{}, core.Secret{}, core.Service{}, core.ServiceAccount{}},
	"apps/v1": {apps.ControllerRevision{}, apps.DaemonSet{}, apps.Deployment{}, apps.ReplicaSet{},
		apps.StatefulSet{}},
	"batch/v1":                        {batch.CronJob{}, batch.Job{}},
	"autoscaling/v1":                  {autoscaling1.HorizontalPodAutoscaler{}},
	"autoscaling/v2":                  {autoscaling.HorizontalPodAutoscaler{}},
	"coordination.k8s.io/v1":          {coordination.Lease{}},
	"discovery.k8s.io/v1":             {discovery.EndpointSlice{}},
	"networking.k8s.io/v1":            {networking.Ingress{}, networking.IngressClass{}, networking.NetworkPolicy{}},
	"node.k8s.io/v1":                  {node.RuntimeClass{}},
	"policy/v1":                       {policy.PodDisruptionBudget{}},
	"rbac.authorization.k8s.io/v1":    {rbac.ClusterRoleBinding{}, rbac.RoleBinding{}},
	"scheduling.k8s.io/v1":            {scheduling.PriorityClass{}},
	"storage.k8s.io/v1":               {storage.CSIDriver{}, storage.StorageClass{}, storage.VolumeAttributesClass{}},
	"resource.k8s.io/v1":              {resource.DeviceClass{}, resource.ResourceClaim{}, resource.ResourceClaimTemplate{}},
	"flowcontrol.apiserver.k8s.io/v1": {flowcontrol.FlowSchema{}, flowcontrol.PriorityLevelConfiguration{}},
	"admissionregistration.k8s.io/v1": {admission.MutatingWebhookConfiguration{},
		admission.ValidatingWebhookConfiguration{}, admission.ValidatingAdmissionPolicy{},
		admission.ValidatingAdmissionPolicyBinding{}, admission.MutatingAdmissionPolicy{},
		admission.MutatingAdmissionPolicyBinding{}},
}

// What has a JSON form of its own.
var special = map[string]string{
	"Quantity": "q", "IntOrString": "x", "Time": "o", "MicroTime": "o", "RawExtension": "o", "FieldsV1": "o",
}

var (
	types     = map[string]string{}
	marshaler = reflect.TypeFor[json.Marshaler]()
)

func name(of reflect.Type) string {
	path := strings.Split(of.PkgPath(), "/")
	group, version := path[len(path)-2], path[len(path)-1]
	return group + strings.TrimPrefix(version, "v1") + "." + of.Name()
}

func shape(of reflect.Type) string {
	if of.Kind() != reflect.Pointer && reflect.PointerTo(of).Implements(marshaler) {
		known, ok := special[of.Name()]
		if !ok {
			fmt.Fprintln(os.Stderr, "no shape for", of)
			os.Exit(1)
		}
		return known
	}
	switch of.Kind() {
	case reflect.Pointer:
		return "*" + shape(of.Elem())
	case reflect.Slice:
		if of.Elem().Kind() == reflect.Uint8 {
			return "y"
		}
		return "[" + shape(of.Elem())
	case reflect.Map:
		return "{" + shape(of.Elem())
	case reflect.Struct:
		record(of)
		return name(of)
	case reflect.String:
		return "s"
	case reflect.Bool:
		return "b"
	case reflect.Float64:
		return "f"
	default:
		return "i"
	}
}

func fields(of reflect.Type, except []string) []string {
	var all []string
	for place := range of.NumField() {
		field := of.Field(place)
		key, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if key == "" {
			if field.Type != reflect.TypeFor[meta.TypeMeta]() {
				all = append(all, fields(field.Type, nil)...)
				continue
			}
			all = append(all, "apiVersion?=s", "kind?=s")
			continue
		}
		skip := false
		for _, excepted := range except {
			skip = skip || excepted == key
		}
		if skip {
			continue
		}
		mark := "="
		if strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero") {
			mark = "?="
		}
		all = append(all, key+mark+shape(field.Type))
	}
	return all
}

func record(of reflect.Type) {
	if _, known := types[name(of)]; known {
		return
	}
	types[name(of)] = ""
	// What only the server writes is not applied.
	var except []string
	if of == reflect.TypeFor[meta.ObjectMeta]() {
		except = []string{"creationTimestamp", "managedFields"}
	} else if _, whole := of.FieldByName("TypeMeta"); whole {
		except = []string{"status"}
	}
	types[name(of)] = strings.Join(fields(of, except), " ")
}

func main() {
	var lines []string
	for version, all := range kinds {
		for _, kind := range all {
			of := reflect.TypeOf(kind)
			record(of)
			lines = append(lines, version+" "+of.Name()+" "+name(of))
		}
	}
	sort.Strings(lines)
	fmt.Println(strings.Join(lines, "\n"))
	lines = nil
	for of, fields := range types {
		lines = append(lines, strings.TrimSpace(of+" "+fields))
	}
	sort.Strings(lines)
	fmt.Println("\n" + strings.Join(lines, "\n"))
}
