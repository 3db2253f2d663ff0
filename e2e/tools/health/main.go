// Command health says how tools that deploy see objects: kstatus, the library by which Flux and Helm wait, and health
// scripts of Argo CD in the Lua interpreter that Argo CD runs them in.
//
// It reads {"objects": [...], "scripts": {"GROUP_KIND": "Lua"}} from stdin, and writes for each object, in the same order,
// {"kstatus": {"status", "message"}, "argocd": {"status", "message"}}; the second is absent without a script for the kind.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Argo CD gives a script a second.
const scriptTime = time.Second

type question struct {
	Objects []json.RawMessage `json:"objects"`
	Scripts map[string]string `json:"scripts"`
}

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type answer struct {
	Kstatus verdict  `json:"kstatus"`
	ArgoCD  *verdict `json:"argocd,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}

func run() error {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	answers := make([]answer, 0, len(asked.Objects))
	for _, raw := range asked.Objects {
		object := &unstructured.Unstructured{}
		// Not encoding/json: integers must stay integers, as in any client of the API server.
		if err := object.UnmarshalJSON(raw); err != nil {
			return err
		}
		one, err := judge(object, asked.Scripts)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		answers = append(answers, one)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func judge(object *unstructured.Unstructured, scripts map[string]string) (answer, error) {
	result, err := status.Compute(object)
	if err != nil {
		return answer{}, fmt.Errorf("kstatus: %w", err)
	}
	one := answer{Kstatus: verdict{string(result.Status), result.Message}}
	kind := object.GroupVersionKind()
	script, found := scripts[kind.Group+"_"+kind.Kind]
	if !found {
		return one, nil
	}
	health, err := argocd(object, script)
	if err != nil {
		return answer{}, fmt.Errorf("health script: %w", err)
	}
	one.ArgoCD = &health
	return one, nil
}

// argocd runs a script as Argo CD does: `obj` is the object, the returned table has `status` and `message`.
func argocd(object *unstructured.Unstructured, script string) (verdict, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage},
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
	} {
		open := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(open, lua.LString(library.name)); err != nil {
			return verdict{}, err
		}
	}
	ending, cancel := context.WithTimeout(context.Background(), scriptTime)
	defer cancel()
	state.SetContext(ending)
	state.SetGlobal("obj", value(state, object.Object))
	if err := state.DoString(script); err != nil {
		return verdict{}, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return verdict{}, fmt.Errorf("expected a table, got %s", state.Get(-1).Type())
	}
	health := verdict{lua.LVAsString(table.RawGetString("status")), lua.LVAsString(table.RawGetString("message"))}
	switch health.Status {
	case "Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown":
		return health, nil
	}
	return verdict{}, fmt.Errorf("%q is no health of Argo CD's", health.Status)
}

func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case bool:
		return lua.LBool(from)
	case int64:
		return lua.LNumber(from)
	case float64:
		return lua.LNumber(from)
	case string:
		return lua.LString(from)
	case []any:
		table := state.NewTable()
		for _, item := range from {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for name, member := range from {
			table.RawSetString(name, value(state, member))
		}
		return table
	}
	return lua.LNil
}
