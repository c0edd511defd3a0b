// Package userpass gets the user name and password that a scheme makes its
// credentials of.
package userpass

import (
	"context"
	"errors"
	"net/http"

	"github.com/authtrip/authtrip/internal/field"
	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/rescue"
)

// Func asks for a user name and password.
type Func = func(context.Context) (username, password string, err error)

// For returns what req is to be authenticated with: what ask says if it is not
// nil, else username and password. Errors begin with the package's name, but
// for those of ask, which are returned as they are.
func For(pkg string, req *http.Request, username, password string, ask Func) (string, string, error) {
	ctx, wait := hop.Waiting(req)
	defer wait.Stop()
	return Ask(pkg, ctx, username, password, ask)
}

// Ask is For without a request.
func Ask(pkg string, ctx context.Context, username, password string, ask Func) (string, string, error) {
	if ask != nil {
		var err error
		if username, password, err = call(pkg, ctx, ask); err != nil {
			return "", "", err
		}
	}
	switch {
	case username == "" && password == "":
		return "", "", errors.New(pkg + ": neither a user name nor a password")
	case field.HasControl(username):
		return "", "", errors.New(pkg + ": the user name has a control character")
	case field.HasControl(password):
		return "", "", errors.New(pkg + ": the password has a control character")
	}
	return username, password, nil
}

func call(pkg string, ctx context.Context, ask Func) (username, password string, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = rescue.Error(pkg+": Credentials", v)
		}
	}()
	return ask(ctx)
}
